// Past sessions: the list, and one of them with its sound and its text.
import { Captions, clock, element } from "./captions.js";

const FORMATS = [["srt", "Subtitles (SRT)"], ["vtt", "Subtitles (VTT)"], ["txt", "Text"], ["json", "JSON"]];

/** Asks the server; a refusal becomes an error with its message. */
async function ask(address) {
  const response = await fetch(address);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error?.message ?? response.statusText);
  return body;
}

function day(milliseconds) {
  const date = new Date(milliseconds);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return `Today, ${time}`;
  return `${date.toLocaleDateString([], { day: "numeric", month: "long", year: "numeric" })}, ${time}`;
}

const titleOf = (session) => session.name ?? day(session.created);

/** The list, kept fresh. */
export class Library {
  shown = 30;

  constructor({ list, empty, more, onModel, onReach }) {
    Object.assign(this, { list, empty, more, onModel, onReach });
    more.onclick = () => {
      this.shown += 60;
      this.refresh();
    };
  }

  async refresh() {
    let sessions = [];
    let next = null;
    try {
      do {
        const before = next ? `&before=${encodeURIComponent(next)}` : "";
        const page = await ask(`/v1/sessions?limit=${Math.min(200, this.shown - sessions.length)}${before}`);
        sessions.push(...page.sessions);
        next = page.next;
        this.onModel(page.model);
      } while (next && sessions.length < this.shown);
    } catch {
      return this.onReach(false);
    }
    this.onReach(true);
    this.empty.hidden = sessions.length > 0;
    this.more.hidden = !next;
    const fingerprint = JSON.stringify(sessions);
    if (fingerprint !== this.fingerprint) {
      this.fingerprint = fingerprint;
      this.sessions = sessions;
      this.draw();
    }
  }

  /** Which session is looked at. */
  select(session) {
    this.selected = session;
    this.draw();
  }

  draw() {
    const focused = document.activeElement?.closest?.("#sessions a")?.getAttribute("href");
    this.list.replaceChildren(...(this.sessions ?? []).map((session) => this.item(session)));
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  item(session) {
    const link = element("a");
    link.href = `#/sessions/${session.session}`;
    if (session.session === this.selected) link.setAttribute("aria-current", "page");
    const head = element("span", "head");
    head.append(element("b", "", titleOf(session)), element("span", "length", clock(session.seconds)));
    link.append(head);
    if (session.state === "open") link.append(element("span", "badge live", "live"));
    else if (session.state === "recognising") link.append(element("span", "badge", "being transcribed"));
    link.append(element("span", "preview", session.preview || (session.state === "complete" ? "No speech." : "…")));
    const item = element("li");
    item.append(link);
    return item;
  }
}

/** One session: its sound, its text, word by word. */
export class PastSession {
  constructor(place, scroller) {
    Object.assign(this, { place, scroller });
  }

  close() {
    this.events?.close();
    this.audio?.pause();
    cancelAnimationFrame(this.frame);
    this.place.hidden = true;
    this.place.replaceChildren();
    this.events = this.audio = null;
  }

  async open(id) {
    this.close();
    this.id = id;
    this.place.hidden = false;
    this.place.append(element("p", "quiet-line", "Opening…"));
    let session;
    try {
      session = await ask(`/v1/sessions/${id}`);
    } catch (error) {
      if (this.id === id) this.place.replaceChildren(element("h2", "title", "Not found"), element("p", "quiet-line", error.message));
      return;
    }
    if (this.id !== id) return;
    this.draw(session);
    this.scroller.scrollTop = 0;
    this.place.focus?.();
    if (session.state !== "complete") this.follow(id, session);
  }

  draw(session) {
    const header = element("header", "past-head");
    const back = element("a", "back", "← Live captions");
    back.href = "#/";
    header.append(back);
    header.append(element("h2", "title", titleOf(session)));
    const facts = [day(session.created), clock(session.seconds), session.transcripts.find(({ language }) => language)?.language, session.transcripts.findLast(({ provenance }) => provenance)?.provenance.model];
    header.append(element("p", "facts", facts.filter((fact, i) => fact && !(i === 0 && !session.name)).join(" · ")));

    const downloads = element("p", "downloads");
    for (const [suffix, label] of FORMATS) {
      const link = element("a", "quiet", label);
      link.href = `/v1/sessions/${session.session}.${suffix}`;
      link.setAttribute("download", "");
      downloads.append(link);
    }

    this.text = element("div", "captions");
    this.captions = new Captions(this.text, this.scroller);
    this.place.replaceChildren(header);
    if (session.audio) this.place.append(this.player(session));
    this.place.append(this.text, downloads);
    session.transcripts.forEach((segment) => this.captions.final(segment));
    if (session.state === "complete" && this.text.childElementCount === 0) {
      this.text.append(element("p", "quiet-line", "No speech was heard in this session."));
    }
    this.text.onclick = ({ target }) => {
      const word = target.closest("[data-start]") ?? target.closest("p")?.querySelector("[data-start]");
      if (word && !String(getSelection())) this.play(Number(word.dataset.start));
    };
    this.stamps();
  }

  /** Paragraphs begin with their time: a button for those who do not use a mouse. */
  stamps() {
    for (const stamp of this.text.querySelectorAll("time.stamp")) {
      const button = element("button", "stamp", stamp.textContent);
      button.type = "button";
      button.setAttribute("aria-label", `Play from ${stamp.textContent}`);
      stamp.replaceWith(button);
    }
  }

  player(session) {
    this.audio = element("audio", "player");
    this.audio.controls = true;
    this.audio.preload = "metadata";
    this.audio.src = `/v1/sessions/${session.session}/audio`;
    this.audio.setAttribute("aria-label", "The session's sound");
    const mark = () => {
      this.mark();
      if (!this.audio?.paused) this.frame = requestAnimationFrame(mark);
    };
    this.audio.onplay = mark;
    this.audio.onseeked = () => this.mark();
    return this.audio;
  }

  play(seconds) {
    if (!this.audio) return;
    // A little before the word, so that its beginning is heard.
    this.audio.currentTime = Math.max(0, seconds - 0.08);
    this.audio.play().catch(() => {});
  }

  /** Shows which word is heard now. */
  mark() {
    const now = this.audio?.currentTime ?? -1;
    const words = this.text.getElementsByClassName("word");
    // The last word that has begun: times do not go back, and there may be many.
    let [low, high] = [0, words.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Number(words[middle].dataset.start) <= now + 0.08) low = middle + 1;
      else high = middle;
    }
    const spoken = words[low - 1];
    if (spoken === this.spoken) return;
    this.spoken?.classList.remove("spoken");
    spoken?.classList.add("spoken");
    this.spoken = spoken;
  }

  /** Goes on listening to a session that is not complete. */
  follow(id, session) {
    const seen = session.transcripts.at(-1)?.segment ?? -1;
    this.events = new EventSource(`/v1/sessions/${id}/events`);
    this.events.addEventListener("partial", ({ data }) => this.captions.change(JSON.parse(data)));
    this.events.addEventListener("final", ({ data }) => {
      const segment = JSON.parse(data);
      if (segment.segment > seen) this.captions.final(segment);
      this.stamps();
    });
    this.events.addEventListener("end", () => {
      this.events.close();
      this.open(id);
    });
  }
}
