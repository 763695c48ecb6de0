// Words on paper: final segments in full ink, what may still change in grey.

/** A pause longer than this begins a new paragraph, in seconds. */
const PARAGRAPH_PAUSE = 2.5;
/** Segments after which a paragraph ends without a pause. */
const PARAGRAPH_SEGMENTS = 12;
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

/**
 * Captions as they come. What may still change stands in grey where it will be written; screen readers hear final words only.
 */
export class Captions {
  constructor(place, scroller) {
    Object.assign(this, { place, scroller });
    this.open = element("span", "partial");
    this.open.setAttribute("aria-hidden", "true");
    this.clear();
  }

  clear() {
    this.place.replaceChildren();
    this.divide();
  }

  /** A break in the session: what follows stands alone. */
  divide() {
    this.erase();
    this.spoken = this.paragraph = null;
  }

  /** What may still change is nothing any more. */
  erase() {
    this.open.remove();
    if (this.paragraph && !this.paragraph.querySelector(".segment")) {
      this.paragraph.remove();
      this.paragraph = null;
    }
  }

  /** The paragraph in which words that start at `start` belong. */
  paragraphAt(start) {
    const pause = start - (this.spoken ?? start);
    if (!this.paragraph || pause > PARAGRAPH_PAUSE || this.paragraph.childElementCount > PARAGRAPH_SEGMENTS) {
      this.paragraph = element("p");
      this.paragraph.append(element("time", "stamp", clock(start)));
      this.place.append(this.paragraph);
      if (this.place.childElementCount > MOST_PARAGRAPHS) this.place.firstElementChild.remove();
    }
    return this.paragraph;
  }

  final(segment) {
    const follows = this.isAtBottom();
    this.erase();
    if (segment.kind === "failed") {
      this.divide();
      const range = `${clock(segment.start)}–${clock(segment.end)}`;
      this.place.append(element("p", "failed", `${range} could not be transcribed; its sound is kept.`));
    } else if (segment.kind === "speech" && segment.text.trim()) {
      this.paragraphAt(segment.words?.[0]?.start ?? segment.start).append(words(segment));
      this.spoken = segment.words?.at(-1)?.end ?? segment.end;
    }
    if (follows) this.toBottom();
  }

  change(partial) {
    const follows = this.isAtBottom();
    this.erase();
    if (partial.committed || partial.tentative) {
      const committed = element("span", "committed", partial.committed);
      const space = partial.committed && partial.tentative ? " " : "";
      this.open.replaceChildren(committed, space, element("span", "tentative", partial.tentative));
      this.paragraphAt(partial.start).append(this.open);
    }
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
