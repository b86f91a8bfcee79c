import { type Comparison, figure, median } from './report';

const width = 860;
const left = 300;
const right = 150;
const bar = 18;
const gap = 6;

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Bars of the medians, a group a comparison, each on a scale of its own; ours stand out. */
export function plot(comparisons: readonly Comparison[]): string {
  let y = 14;
  const parts: string[] = [];
  for (const { title, unit, lines } of comparisons) {
    y += 22;
    parts.push(`<text class="title" x="12" y="${y}">${escape(title)}</text>`);
    parts.push(`<text class="unit" x="${width - 12}" y="${y}" text-anchor="end">${unit}</text>`);
    y += 10;
    const most = Math.max(...lines.map((line) => median(line.rounds)));
    for (const { contender, rounds, ratio } of lines) {
      const value = median(rounds);
      const length = Math.max(1, (value / most) * (width - left - right));
      const says = `${figure(value)}${ratio === undefined ? '' : ` (${figure(ratio)}×)`}`;
      parts.push(
        `<text x="${left - 10}" y="${y + bar - 5}" text-anchor="end">${escape(contender)}</text>`,
        `<rect class="${contender.startsWith('Orderloom') ? 'ours' : 'other'}" x="${left}" y="${y}" width="${length.toFixed(1)}" height="${bar}" rx="2"/>`,
        `<text x="${(left + length + 8).toFixed(1)}" y="${y + bar - 5}">${says}</text>`,
      );
      y += bar + gap;
    }
    y += 12;
  }
  // Shown as an image in a page, it follows the reader's scheme; colours that do on either background otherwise.
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-label="Medians by contender">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.unit { fill: #59636e }
.back { fill: #ffffff }
.ours { fill: #1a7f5a }
.other { fill: #9aa4af }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .unit { fill: #9198a1 }
  .back { fill: #0d1117 }
  .ours { fill: #3fb68b }
  .other { fill: #57606a }
}
</style>
<rect class="back" width="${width}" height="${y}"/>
${parts.join('\n')}
</svg>
`;
}
