// Skip gates for a pack that has none, to see what skipping a block is worth in time: gates of the usual width whose answer does not
// depend on the text. What they cost is what trained ones cost.
import { edited } from '../js/installed.mjs';

const WIDTH = 16, CONFIG_WIDTH = 22; // of a gate, and its word in the config
const BIAS = { skipped: 1, kept: -1 }; // sigmoid: 0.73, 0.27

/** A copy of the pack whose first setting is: the rule off, all words, and blocks skipped whose gate is above `threshold`. */
export function withSkipThreshold(pack, threshold) {
  return edited(pack, (view, section) => {
    const { offset } = section('policy.curve');
    view.setFloat32(offset + 8, 0, true);
    view.setFloat32(offset + 12, threshold, true);
    view.setUint32(offset + 16, 0, true);
  });
}

/** A copy of the pack with gates. `skipped` are numbers of blocks, from 0, of `blocks` in all. */
export function withGates(pack, { blocks, hiddenSize }, skipped) {
  const sections = Array.from({ length: blocks }, (_, block) => Object.entries({
    weight: new Float32Array(WIDTH * hiddenSize), bias: new Float32Array(WIDTH), output: new Float32Array(WIDTH),
    output_bias: Float32Array.of(skipped.includes(block) ? BIAS.skipped : BIAS.kept),
  }).map(([name, floats]) => ({ name: `block${block}.skip.${name}`, bytes: new Uint8Array(floats.buffer) }))).flat();

  const aligned = (size) => (size + 63) & ~63;
  const count = new DataView(pack.buffer, pack.byteOffset).getUint32(8, true);
  const table = 64 + 64 * count, shift = 64 * sections.length;
  let end = pack.length + shift;
  for (const section of sections) {
    section.offset = aligned(end);
    end = section.offset + section.bytes.length;
  }
  const bytes = new Uint8Array(end), view = new DataView(bytes.buffer);
  bytes.set(pack.subarray(0, table));
  bytes.set(pack.subarray(table), table + shift);
  view.setUint32(8, count + sections.length, true);
  view.setBigUint64(16, BigInt(end), true);
  for (let at = 64 + 40; at < table; at += 64) view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(shift), true);
  sections.forEach(({ name, bytes: data, offset }, index) => {
    const entry = table + 64 * index;
    bytes.set(new TextEncoder().encode(name), entry);
    view.setBigUint64(entry + 40, BigInt(offset), true);
    view.setBigUint64(entry + 48, BigInt(data.length), true);
    view.setUint32(entry + 60, 1, true); // required
    bytes.set(data, offset);
  });
  return edited(bytes, (each, section) => each.setUint32(section('config').offset + 4 * CONFIG_WIDTH, WIDTH, true));
}
