// A vision Transformer, run by the page itself: timm's VisionTransformer of plain pre-norm blocks,
// in the order of its own forward pass.  The weights are those that weights.py writes.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SIDE = 2 ** 14, STEPS = SIDE / 2 - 1, SCALES = 2 ** 24 - 1;
const PLACES = new Uint8Array(128);
for (let i = 0; i < 64; i += 1) PLACES[LETTERS.charCodeAt(i)] = i;

/** Reads rows of 14-bit numbers, three in seven letters, each row after its unit of 24 bits. */
class Rows {
  constructor(text, largest) {
    Object.assign(this, {text, largest, place: 0});
  }

  letters(count) {
    let number = 0;
    for (let i = 0; i < count; i += 1) {
      number = 64 * number + PLACES[this.text.charCodeAt(this.place + i)];
    }
    this.place += count;
    return number;
  }

  row(columns) {
    return this.matrix(1, columns);
  }

  matrix(rows, columns) {
    const values = new Float64Array(rows * columns);
    for (let i = 0; i < rows; i += 1) {
      const unit = this.letters(4) * this.largest / SCALES / STEPS;
      for (let j = 0; j < columns; j += 3) {
        const three = this.letters(7);  // of 42 bits, more than bitwise operators take
        const numbers = [Math.floor(three / SIDE ** 2), Math.floor(three / SIDE) % SIDE,
          three % SIDE];
        for (let k = 0; k < Math.min(3, columns - j); k += 1) {
          values[i * columns + j + k] = (numbers[k] - STEPS) * unit;
        }
      }
    }
    return values;
  }

  linear(outputs, inputs) {
    return {weight: this.matrix(outputs, inputs), bias: this.row(outputs), inputs, outputs};
  }

  norm(width) {
    return {weight: this.row(width), bias: this.row(width)};
  }
}

/** Every token through a linear layer: (token, input) to (token, output). */
function linear(layer, values) {
  const {weight, bias, inputs, outputs} = layer, tokens = values.length / inputs;
  const result = new Float64Array(tokens * outputs);
  for (let t = 0; t < tokens; t += 1) {
    const start = t * inputs;
    for (let o = 0; o < outputs; o += 1) {
      const row = o * inputs;
      let sum = bias[o];
      for (let i = 0; i < inputs; i += 1) sum += weight[row + i] * values[start + i];
      result[t * outputs + o] = sum;
    }
  }
  return result;
}

function normalised(norm, values, eps) {
  const width = norm.weight.length, result = new Float64Array(values.length);
  for (let start = 0; start < values.length; start += width) {
    let mean = 0, variance = 0;
    for (let i = 0; i < width; i += 1) mean += values[start + i] / width;
    for (let i = 0; i < width; i += 1) variance += (values[start + i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < width; i += 1) {
      result[start + i] = (values[start + i] - mean) * scale * norm.weight[i] + norm.bias[i];
    }
  }
  return result;
}

/** The error function: a Taylor series near zero, a continued fraction far from it. */
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-16; n += 1) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = 0;
  for (let n = 40; n > 0; n -= 1) fraction = n / 2 / (size + fraction);
  const rest = Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction);
  return Math.sign(x) * (1 - rest);
}

function gelu(x) {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

function softmax(logits) {
  const most = Math.max(...logits), shares = Array.from(logits, (x) => Math.exp(x - most));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

/** Softmax attention of all tokens, (token, 3 × width) to (token, width). */
function attended(mixed, width, heads) {
  const tokens = mixed.length / (3 * width), size = width / heads;
  const result = new Float64Array(tokens * width), scale = 1 / Math.sqrt(size);
  const weights = new Float64Array(tokens);
  for (let h = 0; h < heads; h += 1) {
    for (let t = 0; t < tokens; t += 1) {
      let most = -Infinity, sum = 0;
      for (let s = 0; s < tokens; s += 1) {
        const query = 3 * t * width + h * size, key = (3 * s + 1) * width + h * size;
        let dot = 0;
        for (let i = 0; i < size; i += 1) dot += mixed[query + i] * mixed[key + i];
        weights[s] = dot * scale;
        most = Math.max(most, weights[s]);
      }
      for (let s = 0; s < tokens; s += 1) {
        weights[s] = Math.exp(weights[s] - most);
        sum += weights[s];
      }
      for (let s = 0; s < tokens; s += 1) {
        const share = weights[s] / sum, value = (3 * s + 2) * width + h * size;
        for (let i = 0; i < size; i += 1) result[t * width + h * size + i] += share * mixed[value + i];
      }
    }
  }
  return result;
}

function add(values, others) {
  for (let i = 0; i < values.length; i += 1) values[i] += others[i];
  return values;
}

class Vit {
  constructor(settings, text) {
    const {side, patch, channels, width, depth, hidden, classes} = settings;
    Object.assign(this, settings);
    const rows = new Rows(text, settings.largest);
    this.tokens = (side / patch) ** 2 + 1;
    this.patches = rows.linear(width, channels * patch * patch);
    this.classToken = rows.row(width);
    this.positions = rows.matrix(this.tokens, width);
    this.blocks = Array.from({length: depth}, () => ({
      norm1: rows.norm(width), mix: rows.linear(3 * width, width),
      project: rows.linear(width, width), norm2: rows.norm(width),
      fc1: rows.linear(hidden, width), fc2: rows.linear(width, hidden)}));
    this.norm = rows.norm(width);
    this.head = rows.linear(classes, width);
    if (rows.place !== text.length) throw new Error("the weights do not fit the network");
    // the tokens at which neurons are read and edited
    this.scope = settings.scope === "cls" ? [0, 1] : [1, this.tokens];
  }

  /** The stream that enters the first block; pixels are (channel, height, width). */
  embed(pixels) {
    const {side, patch, channels, width, tokens} = this, across = side / patch;
    const cut = new Float64Array((tokens - 1) * channels * patch * patch);
    let place = 0;
    for (let t = 0; t < tokens - 1; t += 1) {
      const top = Math.floor(t / across) * patch, left = t % across * patch;
      for (let c = 0; c < channels; c += 1) {
        for (let y = 0; y < patch; y += 1) {
          for (let x = 0; x < patch; x += 1) {
            cut[place] = pixels[(c * side + top + y) * side + left + x];
            place += 1;
          }
        }
      }
    }
    const stream = new Float64Array(tokens * width);
    stream.set(this.classToken);
    stream.set(linear(this.patches, cut), width);
    return add(stream, this.positions);
  }

  /** The stream after a block, with neurons multiplied by their factors at the scope; and the
      block's activations there, their mean over its tokens, before any factor. */
  step(index, stream, edits) {
    const {width, heads, hidden, eps, scope} = this, block = this.blocks[index];
    const mixed = linear(block.mix, normalised(block.norm1, stream, eps));
    const middle = add(linear(block.project, attended(mixed, width, heads)), stream);
    const neurons = linear(block.fc1, normalised(block.norm2, middle, eps)).map(gelu);
    const means = new Float64Array(hidden);
    for (let t = scope[0]; t < scope[1]; t += 1) {
      for (let i = 0; i < hidden; i += 1) {
        means[i] += neurons[t * hidden + i] / (scope[1] - scope[0]);
      }
      for (const {neuron, factor} of edits) neurons[t * hidden + neuron] *= factor;
    }
    return {stream: add(linear(block.fc2, neurons), middle), means};
  }

  probabilities(stream) {
    const {width, tokens, eps} = this;
    let pooled = stream.slice(0, width);
    if (this.pool === "avg") {
      pooled = new Float64Array(width);
      for (let t = 1; t < tokens; t += 1) {
        for (let i = 0; i < width; i += 1) pooled[i] += stream[t * width + i] / (tokens - 1);
      }
    }
    return softmax(linear(this.head, normalised(this.norm, pooled, eps)));
  }

  /** Remember the clean pass of an image, from which edited passes start. */
  look(pixels) {
    this.streams = [this.embed(pixels)];
    this.means = [];
    for (let index = 0; index < this.depth; index += 1) {
      const {stream, means} = this.step(index, this.streams[index], []);
      this.streams.push(stream);
      this.means.push(means);
    }
    return {probabilities: this.probabilities(this.streams[this.depth]), means: this.means};
  }

  /** Class probabilities of the image last looked at, with each neuron of a list
      {block, neuron, factor} multiplied by its factor; blocks count from 0. */
  edited(edits) {
    const moving = edits.filter(({factor}) => factor !== 1);
    const first = Math.min(this.depth, ...moving.map(({block}) => block));
    const found = this.means.slice(0, first);
    let stream = this.streams[first];
    for (let index = first; index < this.depth; index += 1) {
      const after = this.step(index, stream, moving.filter(({block}) => block === index));
      stream = after.stream;
      found.push(after.means);
    }
    return {probabilities: this.probabilities(stream), means: found};
  }
}
