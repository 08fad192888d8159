// The part of Markdown that model cards use: headings, paragraphs, lists, tables and code.

import { element } from "./views.js";

/** Return a document as elements; its headings start at level 3. */
export function renderMarkdown(text) {
  const blocks = [];
  let lines = [];
  const finish = () => {
    if (lines.length) blocks.push(renderBlock(lines));
    lines = [];
  };
  for (const line of text.split("\n")) {
    if (!line.trim()) {
      finish();
      continue;
    }
    // A list may follow a paragraph without an empty line.
    if (lines.length && kindOf(line) !== kindOf(lines[0])) finish();
    lines.push(line);
  }
  finish();
  return blocks;
}

function kindOf(line) {
  if (line.startsWith("#")) return "heading";
  if (line.startsWith("- ")) return "list";
  return line.startsWith("|") ? "table" : "paragraph";
}

function renderBlock(lines) {
  const kind = kindOf(lines[0]);
  if (kind === "heading") {
    const [, marks, title] = lines[0].match(/^(#+)\s*(.*)$/);
    return element(`h${Math.min(6, marks.length + 2)}`, {}, ...renderText(title));
  }
  if (kind === "list")
    return element("ul", {}, ...lines.map((line) => element("li", {}, ...renderText(line.slice(2)))));
  if (kind === "table") return renderTable(lines);
  return element("p", {}, ...renderText(lines.join(" ")));
}

function renderTable(lines) {
  const [header, rule, ...rows] = lines.map((line) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => cell.trim()),
  );
  const right = rule.map((cell) => cell.endsWith(":"));
  const row = (cells, tag) =>
    element(
      "tr",
      {},
      ...cells.map((cell, i) => element(tag, { className: right[i] ? "number" : "" }, ...renderText(cell))),
    );
  return element(
    "table",
    {},
    element("thead", {}, row(header, "th")),
    element("tbody", {}, ...rows.map((cells) => row(cells, "td"))),
  );
}

function renderText(text) {
  return text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));
}
