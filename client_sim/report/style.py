"""How the page looks: light and dark by the reader's system, a switch for the other, and print."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --paper: light-dark(#f6f7f9, #0f141b); --card: light-dark(#ffffff, #171e28); --ink: light-dark(#1b2430, #e6ebf2);
  --soft: light-dark(#5b6778, #93a1b5); --rule: light-dark(#e2e6ec, #283243); --good: light-dark(#0f7a4d, #4cc38a);
  --bad: light-dark(#b3261e, #ff8a80); --wait: light-dark(#8a6100, #e2b55a); --accent: light-dark(#2456c4, #7ba7ff);
  --c0: light-dark(#2563c9, #6ea8ff); --c1: light-dark(#d2691e, #ffab66); --c2: light-dark(#0e8f7e, #3fd3bd);
  --c3: light-dark(#c02a6b, #ff7fb2); --c4: light-dark(#6d4bd1, #b39bff); --c5: light-dark(#7a8b00, #cddc4a);
  --c6: light-dark(#0284b5, #5cc9f5); --c7: light-dark(#5d6b7e, #a7b4c6); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; align-items: flex-start; gap: 20px; justify-content: space-between; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 34px 0 10px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 4px 0 10px; } .soft { color: var(--soft); } .small { font-size: 13px; }
button { font: inherit; font-size: 13px; color: var(--soft); background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; padding: 5px 12px; cursor: pointer; white-space: nowrap; }
.verdict { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center; border-radius: 14px; padding: 18px 22px; margin: 20px 0 14px;
  background: var(--card); border: 1px solid var(--rule); border-left: 8px solid var(--tone); }
.verdict > div { flex: 1 1 260px; }
.verdict b { font-size: 28px; color: var(--tone); letter-spacing: 0.02em; white-space: nowrap; }
.pass { --tone: var(--good); } .fail { --tone: var(--bad); } .few { --tone: var(--wait); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 14px; padding: 16px 18px; min-width: 0; }
.stack { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
.tile { border-top: 4px solid var(--c); } .tile .value { font-size: 26px; font-weight: 650; letter-spacing: -0.02em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 6px 8px; border-bottom: 1px solid var(--rule); white-space: nowrap; vertical-align: baseline; }
th:first-child, td:first-child { text-align: left; } td.words, th.words { text-align: left; white-space: normal; min-width: 15em; }
thead th { color: var(--soft); font-weight: 600; font-size: 12.5px; } tbody tr:last-child td { border-bottom: 0; }
td small { color: var(--soft); font-size: 11.5px; display: block; line-height: 1.2; }
.chip { display: inline-block; border-radius: 999px; padding: 0 9px; font-size: 12px; line-height: 20px; color: var(--tone);
  border: 1px solid var(--tone); }
.dotkey { display: inline-block; width: 10px; height: 10px; border-radius: 3px; background: var(--c); margin-right: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 12.5px; color: var(--soft); margin: 4px 0 2px; }
figure { margin: 0; } figcaption { font-size: 12.5px; color: var(--soft); margin-top: 2px; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--paper); border: 1px solid var(--rule); border-radius: 8px;
  padding: 10px 12px; margin: 6px 0; }
details { margin-top: 10px; } summary { cursor: pointer; color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 6px 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11.5px; } svg .axis { font-size: 12px; } svg .mark { fill: var(--ink); font-size: 11px; }
svg .inbar { fill: light-dark(#fff, #10151c); font-size: 11px; }
svg .grid { stroke: var(--rule); } svg .base { stroke: var(--soft); stroke-opacity: .6; }
svg .line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; } svg .dashed { stroke-dasharray: 6 5; }
svg .faint { fill: none; stroke: var(--c); stroke-width: 5; stroke-linecap: round; stroke-opacity: .42; }
svg .dot { fill: var(--c); } svg .ring { fill: var(--card); stroke: var(--c); stroke-width: 2.2; }
svg .whisker { stroke: var(--c); stroke-width: 2; stroke-opacity: .5; } svg .bar { fill: var(--c); }
svg .inkline { fill: none; stroke: var(--ink); stroke-width: 2.2; stroke-linejoin: round; } svg .inkdot { fill: var(--ink); }
svg .band { fill: var(--accent); fill-opacity: .22; stroke: var(--accent); } svg .heat { fill: var(--accent); }
svg .error { stroke: var(--bad); stroke-width: 2; } svg .drop { stroke: var(--wait); stroke-width: 2; }
svg .limit { stroke: var(--soft); stroke-dasharray: 3 4; } svg .flag { stroke: var(--accent); stroke-width: 2; }
svg .speech { fill: var(--c); } svg .hole { fill: var(--bad); } svg .lost { fill: var(--bad); fill-opacity: .8; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
@media print { button { display: none; } .card { break-inside: avoid; } :root { color-scheme: light; } }
"""

SCRIPT: Final = """
document.getElementById("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.style.colorScheme || (dark ? "dark" : "light");
  document.documentElement.style.colorScheme = now === "dark" ? "light" : "dark";
});
"""
