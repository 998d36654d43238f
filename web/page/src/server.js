// The server that the page came from, if it is one: a vtflow that answers `api/…`.

/** Which planner the server has; null without a server, as on a static host. */
export async function planner() {
  if (!("served" in document.documentElement.dataset)) return null;
  try {
    const response = await fetch("api/planner");
    if (!response.ok || !(response.headers.get("content-type") ?? "").includes("json")) return null;
    return await response.json();
  } catch {
    return null;
  }
}

/** Has the server perform a read, and gives its trace. */
export async function trace(call) {
  const body = JSON.stringify({ path: call.path, request: call.request, options: call.options });
  const response = await fetch("api/trace", { method: "POST", headers: { "content-type": "application/json" }, body });
  const text = await response.text();
  if (!response.ok) {
    let message = text;
    try {
      message = JSON.parse(text).error ?? text;
    } catch {
      // What a proxy says is no JSON.
    }
    throw new Error(message || `the server answered ${response.status}`);
  }
  return JSON.parse(text);
}
