// Draws a pack's speed curve: how much is right against how much work it takes, and where the page is on it.
import type { SpeedPoint } from 'beex';

const WIDTH = 320, HEIGHT = 120, LEFT = 44, BOTTOM = 24, MARGIN = 10;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function draw(tag: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.textContent = text;
  return made;
}

/** Fills `figure` with the curve, `chosen` marked; hides it for a pack without one. */
export function drawFront(figure: HTMLElement, speeds: readonly SpeedPoint[], chosen: number): void {
  figure.hidden = speeds.length < 2;
  if (figure.hidden) return;
  const [least, most] = [speeds[0]!.accuracy, speeds.at(-1)!.accuracy];
  const x = (work: number) => LEFT + (WIDTH - LEFT - MARGIN) * work;
  const y = (accuracy: number) => MARGIN + ((HEIGHT - BOTTOM - MARGIN) * (most - accuracy)) / (most - least);
  const plot = draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': 'Share of right answers over share of the work' });
  plot.append(
    draw('path', { class: 'axis', d: `M${LEFT} ${MARGIN}V${HEIGHT - BOTTOM}H${WIDTH - MARGIN}` }),
    draw('text', { x: LEFT - 4, y: MARGIN + 4, 'text-anchor': 'end' }, percent(most)),
    draw('text', { x: LEFT - 4, y: HEIGHT - BOTTOM, 'text-anchor': 'end' }, percent(least)),
    draw('text', { x: LEFT, y: HEIGHT - 8 }, '0 % of the work'),
    draw('text', { x: WIDTH - MARGIN, y: HEIGHT - 8, 'text-anchor': 'end' }, '100 %'),
    draw('polyline', { points: speeds.map(({ work, accuracy }) => `${x(work)},${y(accuracy)}`).join(' ') }),
    ...speeds.map(({ work, accuracy }, index) =>
      draw('circle', { class: index === chosen ? 'chosen' : '', cx: x(work), cy: y(accuracy), r: index === chosen ? 5 : 3 })),
  );
  figure.replaceChildren(plot);
}
