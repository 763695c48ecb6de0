"""Trains the model; run with --help for the options, see README.md for the whole recipe."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.nn import functional as F

import data
import decode
import features
from model import POSITIONS, Whisper

WEIGHTS = (1, 0.5, 0.4, 0.5)  # of the losses: text, words, counts, alignment
TOGETHER = 10    # steps after which the processes average their weights
AVERAGE = 0.93   # decay, at those moments, of the running average that is shipped


def rate_at(step, options):
    """Linear warm-up, constant, linear decay to zero at the end."""
    warm = min(1, (step - options.first + 1) / options.warm_up)
    return options.rate * warm * min(1, (options.steps - step) / options.decay)


def alignment_loss(attentions, spans):
    """Cross-entropy between the aligned heads' attention and the places of the words."""
    if len(spans) == 0:
        return torch.zeros(())
    index, row = spans[:, 0].long(), spans[:, 1].long()
    first, last, following = spans[:, 2:].T.unsqueeze(2)
    frame = torch.arange(attentions[0].shape[2])
    target = ((frame >= first.floor()) & (frame < last)).float()
    target += 0.35 * ((frame >= last) & (frame < following))
    target /= target.sum(dim=1, keepdim=True).clamp(min=1e-3)
    return sum(-(target * a[index, row]).sum(dim=1).mean() for a in attentions) / len(attentions)


def losses(model, batch, drop):
    """Losses of the text, of the words and counts of the frames, and of the alignment."""
    rng = np.random.default_rng(batch["seed"])
    mel = features.disturbed(rng, torch.from_numpy(batch["sound"]), batch["hop"], batch["padding"])
    classes = torch.from_numpy(batch["classes"])
    offset, frames, pads = batch["offset"], classes.shape[2], None
    end = offset + mel.shape[2] // 2
    if batch["padding"] != "none" and end < POSITIONS:
        pads = torch.tensor(np.sort(rng.integers(end, POSITIONS, 12)))
    elif end > POSITIONS:
        mel = mel[:, :, : 2 * (POSITIONS - offset)]
    source, bias = model.encoder(mel, offset, pads, drop)
    logits, attentions = model.decoder(torch.from_numpy(batch["tokens"]), source, bias, drop)
    targets = torch.from_numpy(batch["targets"])
    text = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.05,
                           ignore_index=data.IGNORE)
    words, counts = (
        F.cross_entropy(head(source[:, :frames]).flatten(0, 1), classes[:, k].flatten(),
                        ignore_index=data.IGNORE)
        for k, head in enumerate((model.words, model.counts)))
    return text, words, counts, alignment_loss(attentions, torch.from_numpy(batch["spans"]))


def held_out_sounds(path, every):
    """Some held-out recordings, `every` n-th, as (speaker, digit, one second of sound)."""
    bank = np.load(path, allow_pickle=True).item()
    sounds = []
    for voice, _, offset, length, words in bank["utterances"][::every]:
        sound = np.zeros(16000, np.float32)
        part = bank["samples"][offset:offset + min(length, 14000)] / 40000
        sound[1000:1000 + len(part)] = part
        sounds.append((voice.split("/")[1], words[0][0], sound))
    return sounds


def look(model, sounds):
    """Word error per speaker on single held-out recordings."""
    model.eval()
    texts = decode.transcribe(model, torch.tensor(np.stack([s[2] for s in sounds])), 4)
    errors = {}
    for (speaker, digit, _), text in zip(sounds, texts):
        errors.setdefault(speaker, []).append(decode.word_errors([digit], text))
    model.train()
    return {speaker: round(float(np.mean(e)), 3) for speaker, e in errors.items()}


def average_processes(parameters):
    """Replaces the parameters by their means over all processes."""
    with torch.no_grad():
        flat = torch.cat([p.flatten() for p in parameters])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
            parameter.copy_(part.view_as(parameter))


def run(rank, options):
    """One of the training processes, of one thread: its weights are averaged with the others' now
    and then (local stochastic gradient descent, Stich 2019), so that none waits on a busy machine.
    """
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{options.meeting}", rank=rank,
                                   world_size=options.processes)
    torch.manual_seed(options.seed)
    model = Whisper()
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02},
                                   {"params": plain, "weight_decay": 0}], betas=(0.9, 0.98))
    options.first = 0
    average = {name: value.clone() for name, value in model.state_dict().items()}
    if options.start:
        saved = torch.load(options.start, weights_only=True)
        model.load_state_dict(saved["current"])
        optimizer.load_state_dict(saved["optimizer"])
        average, options.first = saved["model"], saved["step"]
    sounds = held_out_sounds(options.work / "held-out.npy", 2)
    observer = Whisper()
    composer = data.Composer(data.Bank(options.work / "bank.npy", options.hold_out), options.seed)
    torch.manual_seed(options.seed + rank)
    trained = decayed + plain
    totals, started = np.zeros(len(WEIGHTS)), time.time()
    for step in range(options.first, options.steps):
        batch = data.batch(composer, options.seed, step, rank, options.seconds)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options)
        parts = losses(model, batch, 0.05)
        for parameter in trained:
            parameter.grad = None
        sum(weight * part for weight, part in zip(WEIGHTS, parts)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        totals += [float(part.detach()) for part in parts]
        if (step + 1) % TOGETHER == 0:
            average_processes(trained)
            for name, value in model.state_dict().items():
                average[name].lerp_(value, 1 - min(AVERAGE, 1 - TOGETHER / (step + 1)))
        if rank > 0:
            continue
        if (step + 1) % 50 == 0:
            print(step + 1, "text %.3f words %.3f counts %.3f alignment %.3f" % tuple(totals / 50),
                  f"{(time.time() - started) / 50:.2f} s/step", flush=True)
            totals, started = np.zeros(len(WEIGHTS)), time.time()
        if (step + 1) % 250 == 0 or step + 1 == options.steps:
            observer.load_state_dict(average)
            print(step + 1, "word error", look(observer, sounds), flush=True)
            torch.save({"model": average, "current": model.state_dict(), "step": step + 1,
                        "optimizer": optimizer.state_dict()},
                       options.work / f"{options.name}.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder of the word bank")
    parser.add_argument("--name", default="model", help="name of the checkpoints")
    parser.add_argument("--hold-out", help="speaker who is never heard")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=9000, help="step to end at")
    parser.add_argument("--decay", type=int, default=2500, help="steps of falling learning rate")
    parser.add_argument("--warm-up", type=int, default=400)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seconds", type=float, default=44,
                        help="seconds of sound in a batch of a process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.meeting = Path(tempfile.mkdtemp(), "meeting")
    torch.multiprocessing.spawn(run, (options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
