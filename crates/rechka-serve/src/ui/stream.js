// A session with the server: sends a source's frames, keeps them until they are stored, comes back after every disconnection.

/** Frames sent in one message. */
const MESSAGE_FRAMES = 8192;
/** A microphone's frames waiting to be stored beyond which we give up, in seconds. */
export const MOST_WAITING = 600;
/** Waiting sound that goes out as a recording does, in seconds. */
const BACKLOG = 30;
/** The server refuses these for good: coming back would not help. */
const FINAL = new Set(["taken_over", "malformed_hello", "unsupported_format", "invalid_session", "format_differs", "malformed_message", "message_too_large", "rate_exceeded", "foreign_session"]);

/**
 * Events (all of them a `CustomEvent` with `detail`):
 * `state` (connecting | open | waiting | ended | refused, with a message), `progress`, `partial`, `final`, `continued` (a new session began), `end`.
 */
export class Stream extends EventTarget {
  session = null;
  stored = 0;
  /** Frames of the source before this session began. */
  base = 0;
  lastSegment = null;
  attempts = 0;
  finished = false;
  ending = false;

  constructor(source, name) {
    super();
    this.source = source;
    this.name = name;
    this.connect();
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  connect() {
    if (this.finished) return;
    this.ready = false;
    this.endSent = false;
    this.refusal = null;
    this.tell("state", { state: "connecting" });
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify(this.hello()));
    socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    socket.onclose = () => this.lost();
  }

  hello() {
    const backlog = (this.source.end - this.source.start) / this.source.rate;
    return {
      encoding: "pcm_s16le",
      rate: this.source.rate,
      channels: 1,
      session: this.session,
      after_segment: this.lastSegment,
      name: this.name,
      pace: backlog > BACKLOG ? "file" : this.source.pace,
    };
  }

  hear(message) {
    switch (message.type) {
      case "ready":
        if (message.ended && (!this.ending || this.source.end - this.base > message.next_frame)) {
          return this.beginAnew(message.next_frame);
        }
        this.session = message.session;
        this.window = message.window_bytes;
        this.sent = message.next_frame;
        this.attempts = 0;
        this.ready = true;
        this.storedTo(message.next_frame);
        this.tell("state", { state: "open", session: this.session, model: message.model });
        this.pump();
        break;
      case "ack":
        this.storedTo(message.frame);
        this.pump();
        break;
      case "partial":
        this.tell("partial", message);
        break;
      case "final":
        this.lastSegment = message.segment;
        this.tell("final", message);
        break;
      case "end":
        this.finish("ended");
        this.tell("end", message);
        break;
      case "error":
        this.refusal = message;
        break;
    }
  }

  /** We were away for so long that the server has completed the session: what is left begins a new one. */
  beginAnew(stored) {
    this.base += stored;
    Object.assign(this, { session: null, stored: 0, lastSegment: null });
    this.tell("continued", {});
    this.socket.onclose = null;
    this.socket.close();
    this.connect();
  }

  storedTo(frame) {
    this.stored = Math.max(this.stored, frame);
    this.source.forget(this.base + this.stored);
    this.tell("progress", { stored: (this.base + this.stored) / this.source.rate, total: this.source.end / this.source.rate });
  }

  /** Sends what may be sent now. Called when there is more, and when something was stored. */
  pump() {
    const socket = this.socket;
    if (!this.ready || socket.readyState !== WebSocket.OPEN) return;
    const end = this.source.end - this.base;
    while (this.sent < end && (this.sent - this.stored) * 2 < this.window) {
      const samples = this.source.read(this.base + this.sent, MESSAGE_FRAMES);
      const message = new Uint8Array(8 + samples.byteLength);
      new DataView(message.buffer).setBigUint64(0, BigInt(this.sent), true);
      // All platforms that browsers run on are little endian, as the format is.
      message.set(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength), 8);
      socket.send(message);
      this.sent += samples.length;
    }
    if (this.ending && !this.endSent && this.sent >= end) {
      socket.send(JSON.stringify({ type: "end" }));
      this.endSent = true;
    }
  }

  /** The source has no more: the session is complete when all of it is stored and recognised. */
  end() {
    this.ending = true;
    this.pump();
  }

  /** Leaves without completing the session. */
  leave() {
    this.finish("ended");
    this.socket.close(1000);
  }

  finish(state, message) {
    this.finished = true;
    clearTimeout(this.timer);
    this.tell("state", { state, message });
  }

  lost() {
    this.ready = false;
    if (this.finished) return;
    const refusal = this.refusal;
    if (refusal && FINAL.has(refusal.code)) return this.finish("refused", refusal);
    if ((this.source.end - this.source.start) / this.source.rate > MOST_WAITING) {
      return this.finish("refused", { code: "away_too_long", message: "The server has been away for too long." });
    }
    // Soon at first, then less and less often, never all clients at once.
    const seconds = refusal?.retry_after ?? Math.min(8, 0.4 * 2 ** this.attempts);
    this.attempts += 1;
    this.tell("state", { state: "waiting", refusal, seconds });
    this.timer = setTimeout(() => this.connect(), 1000 * seconds * (0.8 + 0.4 * Math.random()));
  }
}
