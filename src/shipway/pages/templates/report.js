"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" || (head.classList.contains("n") && !head.hasAttribute("aria-sort"));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => { const cell = row.cells[index]; return cell.dataset.key ?? cell.textContent; };
    const numeric = head.classList.contains("n");
    const compare = (a, b) => numeric ? (parseFloat(key(a)) || 0) - (parseFloat(key(b)) || 0) : key(a).localeCompare(key(b), undefined, { numeric: true });
    body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
  }));
}
const tip = document.getElementById("tip");
for (const box of document.querySelectorAll("[data-matrix]")) {
  const matrix = JSON.parse(box.dataset.matrix), svg = box.querySelector("svg");
  const cells = matrix.values.map((row) => { const found = new Map(); for (let i = 0; i < row.length; i += 2) found.set(row[i], row[i + 1]); return found; });
  svg.addEventListener("mouseleave", () => { tip.hidden = true; });
  svg.addEventListener("mousemove", (event) => {
    const frame = svg.getBoundingClientRect(), zoom = svg.viewBox.baseVal.width / frame.width;
    const j = Math.floor(((event.clientX - frame.left) * zoom - matrix.left) / matrix.cell);
    const i = Math.floor(((event.clientY - frame.top) * zoom - matrix.top) / matrix.cell);
    const row = matrix.rows[i], column = matrix.columns[j];
    tip.hidden = row === undefined || column === undefined;
    if (tip.hidden) return;
    tip.textContent = `${row} → ${column}: ${(cells[i].get(j) ?? 0).toLocaleString("en")}`;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
}
