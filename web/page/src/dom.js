// Elements from a tag, attributes and children; text is always text, and what a screen would obey or hide is escaped.

let printable = (text) => text;

/** How texts are shown: by the planner's own function, as on a terminal. Until it is loaded there are no texts from outside. */
export function showTextsBy(planners) {
  printable = planners;
}

/** Lines and tabs stay: the page lays them out. */
const shown = (text) => (/^[\x20-\x7e\n\t]*$/.test(text) ? text : text.split(/([\n\t])/).map((part, at) => (at % 2 ? part : printable(part))).join(""));

/** Attributes that are read out or shown; others, such as a value that is sent back, stay as they are. */
const READ = new Set(["aria-label", "title", "placeholder"]);

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : READ.has(name) ? shown(String(value)) : String(value));
  }
  const isThere = (child) => child !== null && child !== undefined;
  element.append(...children.filter(isThere).map((child) => (child instanceof Node ? child : shown(String(child)))));
  return element;
}

export const el = (tag, attributes = {}, ...children) => made(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** A button that does something. */
export function button(text, onClick, attributes = {}) {
  const element = el("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", onClick);
  return element;
}

/** A button that copies a text, whatever the page came by: where there is no clipboard, the text is selected for whoever copies it by hand. */
export function copied(text, name = "Copy") {
  const copy = button(name, async () => {
    let isDone = true;
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    } catch {
      isDone = false;
      if (copy.previousElementSibling) getSelection().selectAllChildren(copy.previousElementSibling);
    }
    copy.textContent = isDone ? "Copied" : "Selected";
    setTimeout(() => (copy.textContent = name), 1500);
  });
  return copy;
}

/** A sentence about what went wrong, and lines beneath: what was said, and what to do, where nothing is lost. */
export const problem = (text, ...lines) =>
  el("div", { class: "problem", role: "alert" }, el("strong", {}, text), ...lines.filter(Boolean).map((line) => el("p", {}, line)));

/** What is missing from what is shown, where, and what to try. */
export function missing({ heading, parts }) {
  const part = ({ place, message, hint }) =>
    el("li", {}, [place, message].filter(Boolean).join(": "), hint ? el("div", { class: "hint" }, hint) : null);
  return el("div", { class: "problem" }, el("strong", {}, heading), el("ul", {}, ...parts.map(part)));
}
