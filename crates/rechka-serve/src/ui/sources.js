// Where sound comes from. A source has frames from `start` (older ones are stored and forgotten) to `end` (what there is so far).

/** The microphone: keeps what is not stored yet, however long the server is away, up to a bound. */
export class Microphone {
  pace = "live";
  start = 0;
  end = 0;
  blocks = [];

  /** Asks for the microphone. `onSamples` is called with every block; `onEnd` when the device goes away. */
  static async open(onSamples, onEnd) {
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
    });
    const context = new AudioContext();
    await context.resume();
    await context.audioWorklet.addModule("/worklet.js");
    return new Microphone(stream, context, onSamples, onEnd);
  }

  constructor(stream, context, onSamples, onEnd) {
    this.stream = stream;
    this.context = context;
    this.rate = context.sampleRate;
    this.node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => {
      if (data.done) return this.flushed?.();
      this.blocks.push({ frame: this.end, samples: data.samples });
      this.end += data.samples.length;
      onSamples(data.samples);
    };
    context.createMediaStreamSource(stream).connect(this.node);
    stream.getAudioTracks()[0].onended = onEnd;
  }

  /** Stops listening; what was heard stays until it is stored. */
  async close() {
    if (this.closed) return;
    this.closed = true;
    this.stream.getTracks().forEach((track) => track.stop());
    const flushed = new Promise((resolve) => (this.flushed = resolve));
    this.node.port.postMessage("flush");
    await Promise.race([flushed, new Promise((resolve) => setTimeout(resolve, 500))]);
    await this.context.close();
  }

  /** At most `most` frames from `from` on. */
  read(from, most) {
    const block = this.blocks.find(({ frame, samples }) => frame + samples.length > from);
    const skip = from - block.frame;
    return block.samples.subarray(skip, skip + most);
  }

  /** Frames before `frame` are stored. */
  forget(frame) {
    while (this.blocks.length > 0 && this.blocks[0].frame + this.blocks[0].samples.length <= frame) this.blocks.shift();
    this.start = Math.max(this.start, Math.min(frame, this.end));
  }
}

/** A recording, decoded by the browser. */
export class Recording {
  pace = "file";
  start = 0;

  /** Decodes whatever the browser can play. */
  static async open(file) {
    const context = new OfflineAudioContext(1, 1, 16000);
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    return new Recording(buffer);
  }

  constructor(buffer) {
    this.rate = buffer.sampleRate;
    this.end = buffer.length;
    this.channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  }

  read(from, most) {
    const samples = new Int16Array(Math.min(most, this.end - from));
    for (let i = 0; i < samples.length; i++) {
      let sum = 0;
      for (const channel of this.channels) sum += channel[from + i];
      samples[i] = Math.max(-32768, Math.min(32767, Math.round((sum / this.channels.length) * 32767)));
    }
    return samples;
  }

  forget(frame) {
    this.start = Math.max(this.start, frame);
  }

  async close() {}
}
