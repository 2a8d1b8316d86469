"""The style of the report's page: light and dark, nothing fetched.

Series colours are Okabe and Ito's, which people with any colour vision can distinguish.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #ffffff; --ink: #1c1d1f; --muted: #6b6f76;
  --rule: #e4e5e7; --grid: #eeeeef; --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #cc79a7; --s4: #b8860b; }
@media (prefers-color-scheme: dark) { :root { --paper: #131416; --card: #1b1d20; --ink: #e8e9eb; --muted: #9aa0a8;
  --rule: #303338; --grid: #26292d; --s0: #56b4e9; --s1: #f0883e; --s2: #3fc79a; --s3: #e09bc1; --s4: #e6b93c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1060px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 26px; font-weight: 650; letter-spacing: -.01em; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; font-weight: 620; margin: 0; }
p { margin: 0; color: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 28px 0 12px; }
.cards div, section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.cards div { padding: 14px 16px; }
.cards b { display: block; font-size: 22px; font-weight: 620; letter-spacing: -.01em; }
.cards span { color: var(--muted); font-size: 13px; display: block; line-height: 1.35; }
section { padding: 20px 22px; margin-top: 16px; }
.scroll { overflow-x: auto; }
section > p { font-size: 13px; margin-bottom: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin-top: 8px; }
th { text-align: left; font-weight: 500; color: var(--muted); font-size: 12.5px; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
td.number, th.number { text-align: right; white-space: nowrap; }
td:first-child { white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
ul { margin: 8px 0 0; padding: 0; list-style: none; font-size: 13.5px; color: var(--muted); overflow-wrap: anywhere; }
li { padding: 3px 0; }
pre { margin: 12px 0 0; padding: 12px 14px; background: var(--grid); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--muted); font-size: 11.5px; } svg .value { font-weight: 560; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--rule); } svg .guide { stroke: var(--muted); opacity: .5; }
svg .mark { stroke: var(--ink); stroke-width: 2.5; } svg .mark.thin { stroke-width: 1; opacity: .6; }
svg .stroke { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
svg .stroke.dashed { stroke: var(--muted); stroke-width: 1.4; stroke-dasharray: 5 4; }
svg .fill.faint { opacity: .45; } svg .fill.none { fill: none; stroke: var(--muted); stroke-dasharray: 4 3; }
svg .fill.s0 { fill: var(--s0); } svg .stroke.s0 { stroke: var(--s0); } svg .ink.s0 { fill: var(--s0); }
svg .fill.s1 { fill: var(--s1); } svg .stroke.s1 { stroke: var(--s1); } svg .ink.s1 { fill: var(--s1); }
svg .fill.s2 { fill: var(--s2); } svg .stroke.s2 { stroke: var(--s2); } svg .ink.s2 { fill: var(--s2); }
svg .fill.s3 { fill: var(--s3); } svg .stroke.s3 { stroke: var(--s3); } svg .ink.s3 { fill: var(--s3); }
svg .fill.s4 { fill: var(--s4); } svg .stroke.s4 { stroke: var(--s4); } svg .ink.s4 { fill: var(--s4); }
svg.narrow { display: none; }
@media screen and (max-width: 640px) { svg.wide { display: none; } svg.narrow { display: block; max-width: 460px; }
  .scroll table { min-width: 640px; } main { padding: 20px 12px 40px; } section { padding: 16px 14px; }
  .cards { grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 8px; } }
@media print { body { background: none; } section, .cards div { break-inside: avoid; } }
"""
