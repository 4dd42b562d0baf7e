"use strict";
// Shows the values under the pointer. Without it the page is whole: the tables below the charts
// have the numbers, and revisions are shown and hidden by the style sheet.
document.querySelectorAll("svg .marks[data-kind]").forEach((marks) => {
  const svg = marks.ownerSVGElement, figure = svg.parentElement;
  const byPoint = marks.dataset.kind === "point";
  const series = [...marks.querySelectorAll(".series")].map((group) => {
    const values = JSON.parse(group.dataset.v);
    const path = group.querySelector(".line:not(.raw), .dots");
    const at = [];
    for (const one of path.getAttribute("d").matchAll(/[ML]([-\d.]+),([-\d.]+)/g))
      at.push([+one[1], +one[2]]);
    const colour = (path.getAttribute("class").match(/\bs\d+\b/) || ["s0"])[0];
    return {group, values, at, colour, name: group.dataset.name};
  });
  const make = (tag, name) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    made.setAttribute("class", name);
    return made;
  };
  const over = make("g", "over");
  marks.parentElement.append(over);
  const box = marks.getBBox();
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  const hide = () => { tip.hidden = true; over.replaceChildren(); };
  const nearest = (one, x, y) => {
    let best = -1, least = Infinity;
    one.at.forEach(([px, py], at) => {
      const far = byPoint ? Math.hypot(px - x, py - y) : Math.abs(px - x);
      if (far < least) { least = far; best = at; }
    });
    return [best, least];
  };
  const line = (colour, name, value) => {
    const row = document.createElement("div");
    const swatch = document.createElement("span");
    swatch.className = "swatch b" + colour.slice(1);
    const words = document.createElement("span"), number = document.createElement("span");
    words.textContent = name;
    number.textContent = value;
    row.append(swatch, words, number);
    return row;
  };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const matrix = svg.getScreenCTM();
    if (!matrix) return;
    const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const near = series
      .filter((one) => one.at.length && getComputedStyle(one.group).display !== "none")
      .map((one) => [one, ...nearest(one, spot.x, spot.y)]);
    if (!near.length || spot.x < box.x - 20 || spot.x > box.x + box.width + 20) return hide();
    near.sort((a, b) => a[2] - b[2]);
    if (byPoint && near[0][2] > 30) return hide();
    const first = near[0][0].at[near[0][1]];
    const shown = byPoint ? near.slice(0, 1)
      : near.filter(([one, at]) => Math.abs(one.at[at][0] - first[0]) < 6).slice(0, 12);
    over.replaceChildren();
    if (!byPoint) {
      const cross = make("path", "cross");
      cross.setAttribute("d", `M${first[0]},${box.y - 4}V${box.y + box.height + 4}`);
      over.append(cross);
    }
    const head = document.createElement("b");
    head.textContent = near[0][0].values.x[near[0][1]];
    tip.replaceChildren(head);
    for (const [one, at] of shown) {
      const dot = make("circle", "spot");
      dot.setAttribute("cx", one.at[at][0]);
      dot.setAttribute("cy", one.at[at][1]);
      dot.setAttribute("r", 4);
      dot.style.stroke = `var(--${one.colour})`;
      over.append(dot);
      tip.append(line(one.colour, one.name, one.values.y[at] ?? ""));
    }
    tip.hidden = false;
    const frame = figure.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const left = x + 18 + tip.offsetWidth > frame.width ? x - 18 - tip.offsetWidth : x + 18;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, y - tip.offsetHeight / 2) + "px";
  });
});
