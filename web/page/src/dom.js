// Elements from a tag, attributes and children; text is always text.

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
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

/** A sentence about what went wrong and what to do, where nothing is lost. */
export const problem = (text, todo = "") =>
  el("div", { class: "problem", role: "alert" }, el("strong", {}, text), todo ? el("p", {}, todo) : null);
