"""The style and the script of the pages. Each page contains them; the Content-Security-Policy allows them by their hashes."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1c1e21; --soft: #656b73; --line: #e3e4e6;
  --good: #1a7f4b; --warn: #9a6400; --bad: #c62a2f; --idle: #b8bdc4; --bar: #a3aebb; --good-bg: #e9f6ee; --warn-bg: #fdf4dd;
  --bad-bg: #fdecec; }
@media (prefers-color-scheme: dark) { :root { --paper: #131518; --card: #1b1e22; --ink: #e6e8ea; --soft: #969da6; --line: #2d3238;
  --good: #4cc38a; --warn: #e2a336; --bad: #ff6b6e; --idle: #4b525a; --bar: #7b8896; --good-bg: #14271d; --warn-bg: #2b2313;
  --bad-bg: #321a1b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.25rem 1.25rem 3rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; gap: .1rem 1rem; align-items: baseline; margin-bottom: .9rem; color: var(--soft); }
h1 { margin: 0; font-size: 1.05rem; font-weight: 650; color: var(--ink); }
h2 { margin: 2rem 0 .6rem; font-size: 1rem; font-weight: 650; }
h3 { margin: 0; font-size: 1.05rem; font-weight: 600; overflow-wrap: anywhere; }
a { color: inherit; text-decoration-color: var(--idle); text-underline-offset: .15em; }
p { margin: 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); } .small { font-size: .85rem; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.verdict { padding: .9rem 1.1rem; border-left: 5px solid; border-radius: 4px; }
.verdict.good { background: var(--good-bg); } .verdict.warn { background: var(--warn-bg); }
.verdict.bad { background: var(--bad-bg); }
.verdict p:first-child { font-size: 1.3rem; line-height: 1.35; font-weight: 600; color: var(--ink); }
.verdict p + p { margin-top: .15rem; color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; margin: 1rem 0 .6rem; }
.card { padding: 1rem 1.1rem; background: var(--card); border: 1px solid var(--line); border-top: 3px solid var(--idle);
  border-radius: 6px; min-width: 0; display: grid; grid-row: span 6; grid-template-rows: subgrid; row-gap: 0;
  grid-template-columns: minmax(0, 1fr); }
.card.good.selected { border-top-color: var(--good); } .card.warn { border-top-color: var(--warn); }
.card.bad { border-top-color: var(--bad); }
.card, .card h3, .card dd { color: var(--ink); }
.head { display: flex; justify-content: space-between; gap: .75rem; align-items: baseline; }
.badge { flex: none; padding: .05rem .55rem; border: 1px solid; border-radius: 1rem; font-size: .8rem; font-weight: 600; }
.badge.calm { color: var(--soft); }
.card .why { margin: .35rem 0 .8rem; } figure { margin: 0; }
.card:target { outline: 2px solid var(--idle); outline-offset: 2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0 0; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.last { margin: .6rem 0 0; } .last + dl { margin-top: 0; } .card dl { grid-template-columns: minmax(7.2rem, max-content) 1fr; }
.card dl.past dd, .past dd span { color: var(--soft); }
.traffic { margin: .6rem 0 .3rem; font-size: .85rem; } .card .traffic :is(td, th) { border: 0; padding: 0 .3rem 0 0; width: auto;
  display: table-cell; white-space: nowrap; } .card .traffic tr { display: table-row; padding: 0; border: 0; }
svg.picture { display: block; width: 100%; height: 56px; }
progress { display: block; width: 100%; height: .5rem; margin: 0 0 .8rem; accent-color: var(--warn); }
.ok { fill: var(--bar); } .err { fill: var(--bad); } .again { fill: var(--warn); } .base { stroke: var(--line); }
.s-selected { fill: var(--good); } .s-standby { fill: var(--idle); } .s-replaying { fill: var(--warn); }
.s-ejected, .s-unusable { fill: var(--bad); }
.axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .78rem; }
svg.strip { display: block; width: 100%; height: 22px; } .history { font-size: .9rem; } .history figure { margin-top: .5rem; }
.history p { margin-top: .3rem; } .has { fill: var(--bar); } .lack { fill: var(--card); } .tick { fill: var(--warn); }
.unseen { fill: none; stroke: var(--bar); stroke-dasharray: 3 3; vector-effect: non-scaling-stroke; }
ul.holes { list-style: none; padding: 0; margin: .3rem 0 0; } .holes li { margin: 0; }
.scroll { margin-top: .4rem; overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem; border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; } th { font-weight: 500; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; } td.at { white-space: nowrap; color: var(--soft); } td.at, th { width: 1%; }
summary { margin-top: .6rem; color: var(--soft); font-size: .9rem; cursor: pointer; }
form { display: flex; flex-wrap: wrap; gap: .5rem; margin: .5rem 0; }
input, button { font: inherit; padding: .35rem .6rem; color: inherit; background: var(--card); border: 1px solid var(--idle);
  border-radius: 4px; min-width: 0; }
input { flex: 1 1 18rem; } button { cursor: pointer; }
ol { padding-left: 1.2rem; margin: .8rem 0 0; } li { margin: .2rem 0; overflow-wrap: anywhere; }
.held::before { content: "Not refreshed while text is selected here."; display: block; width: fit-content;
  margin-bottom: .4rem; padding: .05rem .55rem; border-radius: 4px; background: var(--warn-bg); color: var(--warn);
  font-size: .85rem; }
#lost { position: sticky; top: 0; z-index: 1; padding: .5rem 1.1rem; margin-bottom: .5rem;
  background: var(--bad-bg); color: var(--bad); }
td.value { font-family: ui-monospace, monospace; } .config td.at { width: auto; white-space: normal; }
.config th { width: 24rem; white-space: normal; }
@media (max-width: 30rem) { body { padding: .9rem .75rem 2rem; } .verdict p:first-child { font-size: 1.12rem; }
  table :is(td, th), .config :is(td, th) { display: block; border: 0; padding: 0 .8rem; width: auto; }
  table tr { display: block; padding: .4rem 0; border-top: 1px solid var(--line); } table tr:first-child { border-top: 0; } }
"""

# The script fetches the page again and replaces the sections that changed. A section in which text is selected stays, and says
# so, until the selection is removed. Without scripts the page reloads itself.
SCRIPT = """
"use strict";
(() => {
  let busy = false;
  const opened = () => [...document.querySelectorAll("details[open]")].map((each) => each.id);
  const lost = document.getElementById("lost");
  const isSelected = (part) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  };
  const renewPart = (fresh) => {
    const part = document.getElementById(fresh.id);
    if (isSelected(part)) part.classList.toggle("held", !part.isEqualNode(fresh));
    else if (!part.isEqualNode(fresh)) part.replaceWith(fresh);
  };
  const renew = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {cache: "no-store", signal: AbortSignal.timeout(4000)});
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = opened();
      const parts = [...fresh.querySelector("main").children];
      if (parts.every((part) => document.getElementById(part.id))) parts.forEach(renewPart);
      else document.querySelector("main").replaceWith(fresh.querySelector("main"));
      open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      document.title = fresh.title;
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    busy = false;
  };
  setInterval(renew, 5000);
  document.addEventListener("visibilitychange", renew);
})();
"""
