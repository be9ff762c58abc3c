"use strict";
for (const place of document.querySelectorAll(".listing")) {
  const data = JSON.parse(place.querySelector("script").textContent), caption = place.dataset.caption;
  const AT_ONCE = 100, lower = data.rows.map(row => row.join(" ").toLowerCase());
  const chosen = new Map(), shown = {rows: [], until: 0, by: null, down: false};
  const make = (tag, more = {}, ...children) => {
    const one = Object.assign(document.createElement(tag), more);
    one.append(...children);
    return one;
  };
  const look = value => data.looks[value] || "";

  const words = make("input", {type: "search", placeholder: "test, suite, words"});
  const controls = make("form", {className: "controls"}, make("label", {}, "Search ", words));
  controls.addEventListener("submit", event => event.preventDefault());
  for (const column of data.choices) {
    const count = new Map();
    for (const row of data.rows) count.set(row[column], (count.get(row[column]) || 0) + 1);
    const select = make("select", {}, make("option", {value: "", textContent: "all"}));
    for (const [value, number] of [...count].sort())
      select.append(make("option", {value, textContent: `${value === "" ? "none" : value} (${number})`}));
    select.options[0].dataset.all = "1";
    select.addEventListener("change", () => {
      if (select.selectedIndex) chosen.set(column, [...count.keys()].sort()[select.selectedIndex - 1]);
      else chosen.delete(column);
      choose();
    });
    controls.append(make("label", {}, `${data.columns[column][0]} `, select));
  }
  const told = make("p", {className: "told"});
  told.setAttribute("role", "status");
  const body = make("tbody"), head = make("tr");
  data.columns.forEach(([heading, number], column) => {
    const button = make("button", {type: "button", textContent: heading});
    button.addEventListener("click", () => {
      shown.down = shown.by === column ? !shown.down : number;
      shown.by = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", shown.down ? "descending" : "ascending");
      choose();
    });
    const cell = make("th", {scope: "col", className: number ? "number" : ""}, button);
    head.append(cell);
  });
  const table = make("table", {}, make("thead", {}, head), body);
  const scrolls = make("div", {className: "scrolls", tabIndex: 0}, table);
  scrolls.setAttribute("role", "region");
  scrolls.setAttribute("aria-label", caption);
  const more = make("button", {type: "button", className: "more"});
  more.addEventListener("click", () => add());
  place.append(controls, told, scrolls, more);

  const strip = letters => {
    const one = make("span", {className: "strip"});
    one.setAttribute("role", "img");
    one.setAttribute("aria-label", [...letters].map(letter => ({P: "passed", F: "failed", S: "skipped", T: "time-out",
      C: "crashed", N: "not run"})[letter] || "absent").join(", "));
    for (const letter of letters) one.append(make("i", {className: `on-${letter === "." ? "none" : letter}`}));
    return one;
  };
  const unfolded = detail => {
    const [facts, lines, links] = detail, cell = make("td", {colSpan: data.columns.length});
    const list = make("dl");
    for (const [name, value] of facts) list.append(make("div", {}, make("dt", {textContent: name}), make("dd", {textContent: value})));
    if (facts.length) cell.append(list);
    if (lines) {
      const pre = make("pre", {tabIndex: 0}, make("code", {textContent: lines}));
      pre.setAttribute("role", "region");
      pre.setAttribute("aria-label", "Log");
      cell.append(pre);
    }
    for (const [name, href] of links) cell.append(make("a", {href, textContent: name}), " ");
    return make("tr", {className: "detail"}, cell);
  };
  const row = number => {
    const detail = data.details[number], line = make("tr");
    data.rows[number].forEach((value, column) => {
      const cell = make("td", {className: data.columns[column][1] ? "number" : ""});
      if (column === data.strip) cell.append(strip(value));
      else if (column === 0 && detail) {
        const button = make("button", {type: "button", className: "unfold", textContent: value});
        button.setAttribute("aria-expanded", "false");
        button.addEventListener("click", () => {
          const open = button.getAttribute("aria-expanded") === "true";
          if (open) line.nextElementSibling.remove();
          else line.after(unfolded(detail));
          button.setAttribute("aria-expanded", String(!open));
        });
        cell.append(button);
      } else cell.append(make("span", {className: look(value), textContent: value === null ? "" : value}));
      line.append(cell);
    });
    return line;
  };
  const add = () => {
    const until = Math.min(shown.until + AT_ONCE, shown.rows.length);
    body.append(...shown.rows.slice(shown.until, until).map(row));
    shown.until = until;
    told.textContent = `${shown.rows.length} of ${data.rows.length}` +
      (until < shown.rows.length ? `, the first ${until} are shown` : "");
    more.hidden = until === shown.rows.length;
    more.textContent = `${Math.min(AT_ONCE, shown.rows.length - until)} more`;
  };
  const choose = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown.rows = [];
    for (let number = 0; number < data.rows.length; number++) {
      if (wanted.every(word => lower[number].includes(word))
          && [...chosen].every(([column, value]) => data.rows[number][column] === value)) shown.rows.push(number);
    }
    if (shown.by !== null) {
      const by = shown.by, sign = shown.down ? -1 : 1;
      shown.rows.sort((one, other) => {
        const a = data.rows[one][by], b = data.rows[other][by];
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "number" && typeof b === "number" ? a - b
          : String(a).localeCompare(String(b), "en", {numeric: true}));
      });
    }
    shown.until = 0;
    body.replaceChildren();
    add();
  };
  words.addEventListener("input", choose);
  choose();
}
