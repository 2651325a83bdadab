"use strict";
(() => {
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });

  const table = document.getElementById("cells-table");
  if (!table) return;
  const form = document.querySelector(".controls");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const choices = [...form.querySelectorAll("select")];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = (row, column) => row.cells[column].textContent;

  for (const choice of choices) {
    const values = new Set(rows.map((row) => text(row, choice.dataset.column)));
    choice.append(...[...values].sort().map((value) => new Option(value, value)));
  }

  const filter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const said = row.textContent.toLowerCase();
      const fits =
        wanted.every((word) => said.includes(word)) &&
        choices.every((choice) => !choice.value || text(row, choice.dataset.column) === choice.value);
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} rows shown`;
  };

  const number = (row, column) => {
    const value = row.cells[column].dataset.value;
    return value === "" ? NaN : Number(value);
  };

  const sort = (head, column) => {
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const sign = up ? 1 : -1;
    const byNumber = (a, b) => {
      const [x, y] = [number(a, column), number(b, column)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // what noise hides is last, either way
      return sign * (x - y);
    };
    const byWords = (a, b) => sign * text(a, column).localeCompare(text(b, column), "en", { numeric: true });
    rows.sort(head.dataset.sort === "number" ? byNumber : byWords);
    body.append(...rows);
  };

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  form.hidden = false;
  filter();
})();
