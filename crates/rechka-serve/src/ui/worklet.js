// Runs on the audio thread: collects samples and hands them over as 16-bit integers, twenty times a second.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 20));
    this.filled = 0;
    this.port.onmessage = () => {
      this.hand(this.filled);
      this.port.postMessage({ done: true });
    };
  }

  hand(length) {
    if (length === 0) return;
    const samples = this.block.slice(0, length);
    this.port.postMessage({ samples }, [samples.buffer]);
    this.filled = 0;
  }

  process([channels]) {
    if (channels.length === 0) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const sample = Math.max(-1, Math.min(1, sum / channels.length));
      this.block[this.filled++] = Math.round(sample * 32767);
      if (this.filled === this.block.length) this.hand(this.filled);
    }
    return true;
  }
}

registerProcessor("capture", Capture);
