// The last seconds of sound as a river of bars, and how loud it is now.

const BAR = 3;
const GAP = 2;

export class Meter {
  levels = [];
  peak = 0;

  constructor(canvas, button) {
    Object.assign(this, { canvas, button });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").onchange = () => this.draw();
  }

  /** Takes a block of 16-bit samples. */
  push(samples) {
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibels = 20 * Math.log10(Math.sqrt(sum / samples.length) / 32768 + 1e-6);
    // −60 dB is silence to the eye, −6 dB as loud as it gets.
    const level = Math.min(1, Math.max(0, (decibels + 60) / 54));
    this.levels.push(level);
    this.peak = Math.max(level, this.peak * 0.85);
    this.button.style.setProperty("--level", this.peak.toFixed(3));
    if (!this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => {
        this.drawing = false;
        this.draw();
      });
    }
  }

  clear() {
    this.levels = [];
    this.peak = 0;
    this.button.style.setProperty("--level", 0);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const bars = Math.floor(width / (BAR + GAP));
    if (this.levels.length > bars) this.levels = this.levels.slice(-bars);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    for (let i = 0; i < bars; i++) {
      const level = this.levels[this.levels.length - bars + i];
      const tall = Math.max(2, (level ?? 0) * (height - 2));
      context.fillStyle = level === undefined ? style.caretColor : style.color;
      context.globalAlpha = level === undefined ? 1 : 0.35 + 0.65 * (i / bars);
      context.beginPath();
      context.roundRect(i * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
      context.fill();
    }
  }
}
