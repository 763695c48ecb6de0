"""Training windows: strings of digits put together from the bank, cut, disturbed and labelled."""

import numpy as np

import augment
import tokenizer

RATE = 16000
INSIDE = 0.8     # a word belongs to the text if this share of it is inside the window
SEGMENT = 0.7    # a pause of so many seconds begins a new timed segment
MOST = 64        # counts of words in a window end below this
IGNORE = -100    # what no loss is taken of


class Bank:
    """The utterances of all voices, without those of a held-out speaker."""

    def __init__(self, path, hold_out=None):
        data = np.load(path, allow_pickle=True).item()
        self.samples = data["samples"]
        self.voices, self.other = {}, []
        for voice, kind, offset, length, words in data["utterances"]:
            if voice == f"fsdd/{hold_out}":
                continue
            if kind == "other":
                self.other.append((offset, length, words))
            else:
                self.voices.setdefault(voice, []).append((offset, length, words))
        self.families = {}
        for voice in self.voices:
            self.families.setdefault(voice.split("/")[0], []).append(voice)

    def audio(self, utterance):
        """The samples of an utterance."""
        offset, length, _ = utterance
        return self.samples[offset:offset + length]


class Composer:
    """Makes windows of sound with known words."""

    families = {"fsdd": 0.62, "espeak": 0.2, "flite": 0.11, "festival": 0.07}

    def __init__(self, bank, seed):
        self.bank = bank
        voices = [bank.audio(u) for u in bank.other]
        self.noises = augment.noise_bank(np.random.default_rng(seed), voices)

    def pick_voice(self, rng):
        """A random voice, human more often than not."""
        family = rng.choice(list(self.families), p=list(self.families.values()))
        voices = self.bank.families[family]
        return voices[rng.integers(len(voices))]

    def string(self, rng, count):
        """Sound and words of a string of about `count` digits."""
        voice, mixed = self.pick_voice(rng), rng.random() < 0.08
        speed = np.exp(rng.uniform(-0.18, 0.18))
        low, high = [(-0.04, 0.06), (0.0, 0.35), (0.2, 1.0)][rng.choice(3, p=[0.35, 0.4, 0.25])]
        pieces, words, position = [], [], 0
        while len(words) < count:
            if mixed:
                voice = self.pick_voice(rng)
            utterances = self.bank.voices[voice]
            other = rng.random() < 0.015
            utterance = (self.bank.other[rng.integers(len(self.bank.other))] if other
                         else utterances[rng.integers(len(utterances))])
            audio = self.bank.audio(utterance)
            step = speed * np.exp(rng.uniform(-0.04, 0.04))
            audio = np.interp(np.arange(0, len(audio) - 1, step), np.arange(len(audio)), audio)
            audio *= 10 ** (rng.uniform(-4, 4) / 20) / 32768
            pieces.append((position, audio))
            words += [(word, position + a / step, position + b / step)
                      for word, a, b in utterance[2]]
            position += max(1600, len(audio) + int(rng.uniform(low, high) * RATE))
        sound = np.zeros(max(p + len(a) for p, a in pieces), np.float32)
        for position, audio in pieces:
            sound[position:position + len(audio)] += audio
        return sound, words

    def speech(self, rng, length):
        """A window of speech: the string may lie inside it or reach over its edges."""
        seconds = length / RATE
        most = min(10, int(seconds / 0.55) + 1) if seconds < 12 else int(seconds / 0.6)
        sound, words = self.string(rng, rng.integers(1, most + 1, 2).max())
        room = length - len(sound)
        if room > 0 and rng.random() < 0.85:
            start = int(rng.uniform(0, room) if rng.random() < 0.6
                        else min(room, rng.uniform(0, 0.5) * RATE))
        else:
            start = int(rng.uniform(-len(sound) + 0.3 * RATE, length - 0.3 * RATE))
        window = np.zeros(length, np.float32)
        first, last = max(start, 0), min(start + len(sound), length)
        window[first:last] = sound[first - start:last - start]
        return window, [(w, a + start, b + start) for w, a, b in words]

    def noise(self, rng, length):
        """Noise of unit power."""
        noise = self.noises[rng.integers(len(self.noises))]
        start = rng.integers(0, len(noise) - length)
        noise = noise[start:start + length].copy()
        if rng.random() < 0.15:
            edge = rng.integers(0, length)
            noise[(slice(None, edge), slice(edge, None))[rng.integers(2)]] *= 0.01
        return noise

    def window(self, rng, length):
        """One window: its sound and its words, also those cut by or outside its edges."""
        words = []
        kind = rng.random()
        if kind < 0.86:
            window, words = self.speech(rng, length)
        elif kind < 0.89:
            window = np.zeros(length, np.float32)
            audio = self.bank.audio(self.bank.other[rng.integers(len(self.bank.other))])
            start = rng.integers(0, max(1, length - len(audio) // 2))
            part = audio[: length - start]
            window[start:start + len(part)] = part / 32768
        else:
            level = 10 ** (rng.uniform(-75, -5) / 20) if rng.random() < 0.9 else 0
            noise = self.noise(rng, length)
            if rng.random() < 0.3:
                noise += self.noise(rng, length) * rng.uniform(0, 1)
            return np.clip(noise * level, -1, 1), words
        loud = window[np.abs(window) > 0.01]
        power = np.sqrt(np.mean(loud**2)) if len(loud) else 0.1
        if rng.random() < 0.1:
            window = augment.reverberate(rng, window)
        if rng.random() < 0.5:
            ratio = 10 ** (-rng.uniform(10, 45) / 20)
            window = window + self.noise(rng, length) * power * ratio
        window = window / max(np.abs(window).max(), 1e-3) * 10 ** (rng.uniform(-32, 0) / 20)
        if rng.random() < 0.06:
            window = augment.mu_law(window)
        return window.astype(np.float32), words


def label(words, frames, hop):
    """Splits words into those inside the window and frame labels.

    Returns the words inside as (class, first, end) in frames of 20 ms, the start of a word cut by
    the right edge or None, whether any cut word is audible, and for every frame its class and the
    count of words begun so far.
    """
    classes, counts = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
    inside, cut, audible = [], None, False
    for word, first, last in words:
        first, last = first / hop / 2, last / hop / 2
        begin, end = max(first, 0), min(last, frames)
        if end <= begin:
            continue
        span = slice(int(begin), max(int(begin) + 1, round(end)))
        if (end - begin) >= INSIDE * (last - first):
            inside.append((word, begin, end))
            classes[span] = word + 1
            counts[span.start:] += 1
        else:
            classes[span] = IGNORE
            audible = audible or end - begin > 4
            cut = begin if last > frames else cut
    return inside, cut, audible, np.stack([classes, counts.clip(max=MOST - 1)])


def timestamp(frame):
    """The token of a time in frames of 20 ms."""
    return tokenizer.FIRST_TIMESTAMP + min(round(frame), tokenizer.TIMESTAMPS - 1)


def timed_text(inside, cut, offset):
    """Segments with times: a new one after each long pause, the cut word's start at the end."""
    if not inside:
        return [(timestamp(offset + min(cut or 0, 50)), None)]
    tokens = []
    previous = None
    for k, (word, first, last) in enumerate(inside):
        if previous is None:
            tokens.append((timestamp(offset + min(first, 50)), None))
        elif first - previous > SEGMENT * 50:
            tokens += [(timestamp(offset + previous), None), (timestamp(offset + first), None)]
        tokens.append((tokenizer.WORD_IDS[word], k))
        previous = last
    tokens.append((timestamp(offset + previous), None))
    if cut is not None:
        tokens.append((timestamp(offset + cut), None))
    return tokens


def prompt(rng, timed):
    """A random text said before, as tokens."""
    count = int(rng.integers(1, 12) if rng.random() < 0.8 else rng.integers(12, 200))
    tokens = [tokenizer.PREVIOUS]
    while count > 0:
        words = list(rng.choice(tokenizer.WORD_IDS, min(count, int(rng.integers(1, 10)))))
        if timed:
            first, last = sorted(rng.integers(0, 1500, 2))
            words = [timestamp(first), *words, timestamp(last)]
        tokens += words
        count -= len(words)
    return tokens[:1] + tokens[1:][-223:]


def text(rng, inside, cut, audible, offset, prompted):
    """Decoder input and target, and the aligned spans as (row, first, end, next start)."""
    timed = rng.random() < 0.25
    body = (timed_text(inside, cut, offset) if timed
            else [(tokenizer.NO_TIMESTAMPS, None)] + [
                (tokenizer.WORD_IDS[w], k) for k, (w, _, _) in enumerate(inside)])
    before = prompt(rng, timed) if prompted and rng.random() < 0.9 else []
    tokens = before + [tokenizer.START] + [t for t, _ in body] + [tokenizer.END]
    targets = tokens[1:]
    targets[: len(before)] = [IGNORE] * len(before)
    if not inside:
        targets[len(before)] = IGNORE if audible else tokenizer.NO_SPEECH
    elif not timed:
        targets[len(before)] = tokenizer.NO_TIMESTAMPS
    spans = []
    for row, (_, k) in enumerate(body, len(before)):
        if k is not None:
            following = inside[k + 1][1] if k + 1 < len(inside) else inside[k][2] + 15
            spans.append((row, inside[k][1], inside[k][2], following))
    return tokens[:-1], targets, spans


def length_seconds(rng, step):
    """How long the windows of a batch are: short ones first."""
    if step < 500:
        return rng.uniform(1.2, 2.5)
    if step < 1200:
        return rng.uniform(1.2, 5)
    ranges = [(0.6, 3), (3, 6), (6, 9), (9, 15), (15, 30), (30, 30)]
    return rng.uniform(*ranges[rng.choice(6, p=[0.25, 0.4, 0.28, 0.05, 0.01, 0.01])])


def batch(composer, seed, step, rank, seconds):
    """The batch of a step in the process `rank`; the same for the same seed, step and rank."""
    rng = np.random.default_rng((seed, step))
    duration = length_seconds(rng, step)
    count = max(2, round(seconds / duration))
    frames = int(duration * 50)
    hop = int(rng.integers(130, 199)) if rng.random() < 0.7 else 160
    late = step > 2500 and frames < 1500 and rng.random() < 0.04
    offset = int(rng.integers(0, 1500 - frames)) if late else 0
    prompted = step > 1200 and rng.random() < 0.06
    padding = rng.choice(["none", "silence", "zero"], p=[0.6, 0.18, 0.22])
    rng = np.random.default_rng((seed, step, rank))
    rows = []
    for _ in range(count):
        sound, words = composer.window(rng, frames * 2 * hop)
        inside, cut, audible, classes = label(words, frames, hop)
        rows.append((sound, classes, *text(rng, inside, cut, audible, offset, prompted)))
    longest = max(len(r[2]) for r in rows)
    tokens = np.full((count, longest), tokenizer.END)
    targets = np.full((count, longest), IGNORE)
    spans = []
    for i, (_, _, inputs, outputs, aligned) in enumerate(rows):
        tokens[i, : len(inputs)], targets[i, : len(outputs)] = inputs, outputs
        spans += [(i, *span) for span in aligned]
    return {"sound": np.stack([r[0] for r in rows]), "classes": np.stack([r[1] for r in rows]),
            "tokens": tokens, "targets": targets,
            "spans": np.array(spans, np.float32).reshape(-1, 5),
            "hop": hop, "offset": offset, "padding": str(padding), "seed": (seed, step, rank, 1)}
