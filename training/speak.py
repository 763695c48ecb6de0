"""Builds the word bank: human recordings and synthetic voices with known word boundaries.

Every entry of the bank is one utterance of one voice at 16 kHz: its samples and its words as
(class, first sample, end sample). Human digits are utterances of one word; synthesisers also
speak whole strings, so that the model hears how words run into each other. `other` utterances
are speech without digits: the model must answer them with no text.
"""

import argparse
import ctypes
import random
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

RATE = 16000
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "oh"]
HELD_OUT_INDICES = range(5, 10)

ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan",
           "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
VARIANTS = """Adam Alex Alicia Andrea Andy Annie Antonio Auntie Belinda Benjamin Boris Caleb David
Denis Diogo Ed Edward Edward2 Gene Gene2 Gustave Henrique Hugo Iven Iven2 Iven3 Iven4 Jacky John
Kaukovalta Lee Linda Marcelo Marco Mario Max Michael Michel Miguel Mike Mr_Serious Nguyen Pablo
Paul Pedro Quincy RicishayMax RicishayMax2 RicishayMax3 Rob Robert Steph Steph2 Steph3 Storm
Tweaky Zac anika anxiousAndy f1 f2 f3 f4 f5 grandma grandpa klatt klatt2 klatt3 klatt4
klatt5 klatt6 m1 m2 m3 m4 m5 m6 m7 m8 norbert sandro shelby travis victor whisper""".split()

OTHER = """the quick brown fox jumps over a lazy dog
please leave your message after the tone
good morning and welcome back
what a lovely day it is
I am not sure about that
thank you very much indeed
could you repeat the question
my name is Alexander
we should meet again tomorrow
the weather will be cloudy with rain
turn left at the next street
hello how are you doing
yes
no
maybe later
the meeting has been cancelled
open the window
she sells sea shells on the shore
a hundred thousand million
ten eleven twelve twenty
where is the railway station
music was playing in the background
let us go home now
he said that nothing happened
stop
start again
computers can understand speech
put the book on the table
many people like coffee with milk
my dog barks at strangers
this is only an example
never mind""".splitlines()


def trim(audio, threshold=0.02):
    """First and end sample of the part that rises above `threshold` of the loudest 10 ms."""
    hop = RATE // 100
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    level = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)) if len(frames) else np.zeros(1)
    loud = np.flatnonzero(level > threshold * max(level.max(), 1e-9))
    if len(loud) == 0:
        return 0, len(audio)
    return loud[0] * hop, min((loud[-1] + 1) * hop, len(audio))


def fit_words(audio, starts, classes):
    """Words with ends found by energy: from each start to the next one, less trailing silence."""
    words = []
    bounds = list(starts) + [len(audio)]
    for k, word in enumerate(classes):
        begin, end = int(bounds[k]), int(bounds[k + 1])
        first, last = trim(audio[begin:end], 0.03)
        words.append((word, begin + (first if k == 0 else 0), begin + last))
    return words


class Bank:
    """Utterances of all voices in one flat int16 array."""

    def __init__(self):
        self.chunks, self.utterances, self.offset = [], [], 0

    def add(self, voice, kind, audio, words):
        """Adds one utterance at 16 kHz, cut to its speech with 30 ms around it."""
        first, last = (words[0][1], words[-1][2]) if words else trim(audio)
        first, last = max(0, first - 480), min(len(audio), last + 480)
        audio = audio[first:last].astype(np.float64)
        if len(audio) < RATE // 10 or np.abs(audio).max() < 1e-4:
            return
        audio = np.round(audio / np.abs(audio).max() * 30000).astype(np.int16)
        self.chunks.append(audio)
        words = [(w, int(a - first), int(b - first)) for w, a, b in words]
        self.utterances.append((voice, kind, self.offset, len(audio), words))
        self.offset += len(audio)

    def save(self, path):
        """Writes the samples and the list of utterances."""
        np.save(path, {"samples": np.concatenate(self.chunks), "utterances": self.utterances},
                allow_pickle=True)


def add_humans(bank, folder, held_out):
    """Adds the recordings of `fsdd`, the held-out indices or all the others."""
    for path in sorted(Path(folder).glob("*.wav")):
        digit, speaker, index = path.stem.split("_")
        if (int(index) in HELD_OUT_INDICES) != held_out:
            continue
        audio, rate = soundfile.read(path, dtype="float32")
        audio = resample_poly(audio, RATE, rate)
        first, last = trim(audio)
        bank.add(f"fsdd/{speaker}", "human", audio, [(int(digit), first, last)])


class Espeak:
    """espeak-ng through its library, which reports where each word begins."""

    class Event(ctypes.Structure):
        """`espeak_EVENT` of speak_lib.h."""

        _fields_ = [("type", ctypes.c_int), ("id", ctypes.c_uint), ("text_position", ctypes.c_int),
                    ("length", ctypes.c_int), ("audio_position", ctypes.c_int),
                    ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("name", ctypes.c_void_p)]

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(2, 500, None, 0)
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int,
                                    ctypes.POINTER(self.Event))
        self.callback = callback(self.receive)
        self.library.espeak_SetSynthCallback(self.callback)

    def receive(self, samples, count, events):
        """Collects the sound and the word events of one call-back."""
        if samples and count:
            self.sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == 1:
                self.starts.append(events[i].sample)
            i += 1
        return 0

    def speak(self, voice, text, speed, pitch, pitch_range):
        """Speaks; returns the sound at 16 kHz and the first sample of each word."""
        self.sound, self.starts = [], []
        self.library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((1, speed), (3, pitch), (4, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        audio = resample_poly(np.concatenate(self.sound).astype(np.float32), 320, 441)
        return audio, [int(s * 320 / 441) for s in self.starts]


def digit_string(rng, longest):
    """A random string of word classes; longer ones are rarer."""
    return [rng.randrange(len(WORDS)) for _ in range(rng.randint(1, longest))]


def add_espeak(bank, rng, count):
    """Adds strings in random accents, variants, speeds and pitches, and other speech."""
    espeak = Espeak()
    for i in range(count):
        voice = rng.choice(ACCENTS) + ("+" + rng.choice(VARIANTS) if rng.random() < 0.95 else "")
        prosody = (rng.randint(100, 260), rng.randint(15, 85), rng.randint(20, 80))
        if i % 12 == 0:
            audio, _ = espeak.speak(voice, rng.choice(OTHER), *prosody)
            bank.add(f"espeak/{voice}", "other", audio, [])
            continue
        for _ in range(2):
            classes = digit_string(rng, 6)
            separator = rng.choice([" ", " ", ", "])
            text = separator.join(WORDS[c] for c in classes)
            audio, starts = espeak.speak(voice, text, *prosody)
            if len(starts) == len(classes):
                bank.add(f"espeak/{voice}", "synthetic", audio, fit_words(audio, starts, classes))


def flite(voice, text, settings):
    """Speaks with flite; returns the sound and its phones as (name, end in seconds)."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = [x for key, value in settings.items() for x in ("--setf", f"{key}={value}")]
        phones = subprocess.run(["flite", "-voice", voice, *options, "-psdur", "-t", text,
                                 "-o", file.name], check=True, capture_output=True, text=True)
        audio, rate = soundfile.read(file.name, dtype="float32")
    pairs = re.findall(r"([a-z@]+):([0-9.]+)", phones.stdout)
    return resample_poly(audio, RATE, rate), [(p, float(t)) for p, t in pairs]


def add_flite(bank, rng, count):
    """Adds strings of flite's voices; phones are counted to find the words."""
    pitches = {"kal": 105, "kal16": 105, "awb": 120, "rms": 95, "slt": 170}
    for voice, pitch in pitches.items():
        phones_of = []
        for word in WORDS:
            phones_of.append(sum(p != "pau" for p, _ in flite(voice, word, {})[1]))
        for i in range(count):
            settings = {"duration_stretch": round(rng.uniform(0.75, 1.35), 2),
                        "int_f0_target_mean": round(pitch * rng.uniform(0.8, 1.3))}
            if i % 12 == 0:
                audio, _ = flite(voice, rng.choice(OTHER), settings)
                bank.add(f"flite/{voice}", "other", audio, [])
                continue
            classes = digit_string(rng, 6)
            separator = rng.choice([" ", ", "])
            audio, phones = flite(voice, separator.join(WORDS[c] for c in classes), settings)
            starts = [end for (_, end) in [("", 0.0)] + phones[:-1]]
            spoken = [s for s, (p, _) in zip(starts, phones) if p != "pau"]
            if len(spoken) != sum(phones_of[c] for c in classes):
                continue
            firsts = np.cumsum([0] + [phones_of[c] for c in classes[:-1]])
            words = [int(spoken[k] * RATE) for k in firsts]
            bank.add(f"flite/{voice}", "synthetic", audio, fit_words(audio, words, classes))


def add_festival(bank, rng, count):
    """Adds strings of festival's voices, which know where their words end."""
    for voice in ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"):
        with tempfile.TemporaryDirectory() as folder:
            strings = [digit_string(rng, 6) for _ in range(count)]
            script = [f"(voice_{voice})"]
            for i, classes in enumerate(strings):
                separator = rng.choice([" ", ", "])
                text = separator.join(WORDS[c] for c in classes)
                script += [f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.3):.2f})",
                           f'(set! u (utt.synth (Utterance Text "{text}")))',
                           f'(utt.save.wave u "{folder}/{i}.wav" \'riff)',
                           '(mapcar (lambda (w) (format t "%s:%f " (item.name w) '
                           "(item.feat w 'word_start))) (utt.relation.items u 'Word))",
                           '(format t "\\n")']
            path = Path(folder, "speak.scm")
            path.write_text("\n".join(script))
            printed = subprocess.run(["festival", "-b", path], check=True, capture_output=True,
                                     text=True).stdout.splitlines()
            for i, (classes, line) in enumerate(zip(strings, printed)):
                times = [float(x.split(":")[1]) for x in line.split()]
                if len(times) != len(classes):
                    continue
                audio, rate = soundfile.read(f"{folder}/{i}.wav", dtype="float32")
                audio = resample_poly(audio, RATE, rate)
                starts = [int(t * RATE) for t in times]
                bank.add(f"festival/{voice}", "synthetic", audio, fit_words(audio, starts, classes))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fsdd", default="../shared/data/fsdd")
    parser.add_argument("--output", default="work")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    held_out = Bank()
    add_humans(held_out, options.fsdd, held_out=True)
    held_out.save(folder / "held-out.npy")
    rng = random.Random(options.seed)
    bank = Bank()
    add_humans(bank, options.fsdd, held_out=False)
    for add, count in ((add_espeak, 3000), (add_flite, 240), (add_festival, 240)):
        before = len(bank.utterances)
        add(bank, rng, count)
        print(add.__name__, len(bank.utterances) - before, "utterances", flush=True)
    bank.save(folder / "bank.npy")
    print(f"{len(bank.utterances)} utterances, {bank.offset / RATE / 60:.0f} minutes")


if __name__ == "__main__":
    main()
