// Words on paper: final segments in full ink, what may still change in grey.

/** A pause longer than this begins a new paragraph, in seconds. */
const PARAGRAPH_PAUSE = 2.5;
/** Words less certain than this are marked. */
const UNCERTAIN = 0.5;
/** Paragraphs kept on a live page; older ones are with the session. */
const MOST_PARAGRAPHS = 400;

/** An element with a class and text. */
export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** 75 -> "1:15", 4000 -> "1:06:40". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** The words of a segment, each knowing its time. */
export function words(segment) {
  const line = element("span", "segment");
  const list = segment.words?.length ? segment.words : [{ word: segment.text, start: segment.start, end: segment.end, probability: 1 }];
  for (const word of list) {
    const span = element("span", word.probability < UNCERTAIN ? "word uncertain" : "word", word.word.trim());
    span.dataset.start = word.start;
    span.dataset.end = word.end;
    if (word.probability < UNCERTAIN) span.title = `${Math.round(100 * word.probability)} % certain`;
    line.append(span, " ");
  }
  return line;
}

/** Captions as they come. */
export class Captions {
  constructor(finals, partial, scroller) {
    Object.assign(this, { finals, partial, scroller });
    this.clear();
  }

  clear() {
    this.finals.replaceChildren();
    this.partial.replaceChildren();
    this.spoken = null;
    this.paragraph = null;
  }

  /** A break in the session: what follows stands alone. */
  divide() {
    this.paragraph = null;
    this.spoken = null;
  }

  final(segment) {
    const follows = this.isAtBottom();
    this.partial.replaceChildren();
    if (segment.kind === "failed") {
      this.finals.append(element("p", "failed", `${clock(segment.start)}–${clock(segment.end)} could not be transcribed; its sound is kept.`));
      this.divide();
    } else if (segment.kind === "speech" && segment.text.trim()) {
      if (!this.paragraph || segment.start - (this.spoken ?? segment.start) > PARAGRAPH_PAUSE) {
        this.paragraph = element("p");
        const time = element("time", "stamp", clock(segment.words?.[0]?.start ?? segment.start));
        this.paragraph.append(time);
        this.finals.append(this.paragraph);
        if (this.finals.childElementCount > MOST_PARAGRAPHS) this.finals.firstElementChild.remove();
      }
      this.paragraph.append(words(segment));
      this.spoken = segment.words?.at(-1)?.end ?? segment.end;
    }
    if (follows) this.toBottom();
  }

  change(partial) {
    const follows = this.isAtBottom();
    const committed = element("span", "committed", partial.committed);
    this.partial.replaceChildren(committed, partial.committed && partial.tentative ? " " : "", element("span", "tentative", partial.tentative));
    if (follows) this.toBottom();
  }

  /** A reader who has scrolled up is left alone. */
  isAtBottom() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < 80;
  }

  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
