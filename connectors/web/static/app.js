// The page of a fleet. Everything that comes from hosts becomes text (textContent), never markup. No dependencies, no build step.
// Two things are put in as markup, both made and escaped by the server: the picture of an incident and a rendered runbook.
"use strict";

const $ = (id) => document.getElementById(id);
const SEVERITIES = ["critical", "error", "warning", "info"];
const CONDITIONS = ["offline", "stale", "online"];
let token = sessionStorage.getItem("token") || "";
let me = { operator: null, commands: false };
let shown = "";          // what stands on the page now, so that an update that changes nothing moves nothing
let pending = false;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

async function get(path, query) {
  const response = await fetch(path + (query ? "?" + new URLSearchParams(query) : ""), {
    headers: token ? { Authorization: "Bearer " + token } : {},
  });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error || response.statusText);
  return content;
}

// -- the URL is the state ------------------------------------------------------------------------------------------------

function state() {
  const query = new URLSearchParams(location.search);
  return { view: query.get("incident") ? "incident" : query.get("view") === "hosts" ? "hosts" : "incidents", query };
}

function href(changes, keep = true) {
  const query = keep ? new URLSearchParams(location.search) : new URLSearchParams();
  for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
  const text = query.toString();
  return "/" + (text ? "?" + text : "");
}

function go(url, { replace = false, focus = true } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  shown = "";
  render().then(() => focus && $("main").focus());
}

// -- time ----------------------------------------------------------------------------------------------------------------

function ago(text) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(text)) / 1000));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return Math.floor(seconds / size) + " " + unit + " ago";
  return seconds + " s ago";
}

function time(text, prefix = "") {
  return el("time", { datetime: text, title: text }, prefix + ago(text));
}

// -- the numbers on top --------------------------------------------------------------------------------------------------

function numbers(data) {
  const { view, query } = state();
  const box = (name, count, label, url, current) =>
    el("a", { class: name, href: url, "aria-current": current ? "true" : null, "data-count": name }, el("b", {}, String(count)), el("span", {}, label));
  const boxes = SEVERITIES.map((severity) => {
    const current = view === "incidents" && query.get("severity") === severity;
    return box(severity, data.severities[severity], severity, href({ severity: current ? "" : severity }, false), current);
  });
  for (const condition of CONDITIONS) {
    const current = view === "hosts" && query.get("condition") === condition;
    boxes.push(box(condition, data.hosts[condition], "hosts " + condition, href({ view: "hosts", condition: current ? "" : condition }, false), current));
  }
  if (data.frozen) boxes.push(box("frozen", data.frozen, "hosts frozen", href({ view: "hosts" }, false), false));
  $("numbers").replaceChildren(...boxes);
}

// -- lists ---------------------------------------------------------------------------------------------------------------

function put(key, nodes) {
  if (key === shown) return;
  shown = key;
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : null;
  $("main").replaceChildren(...nodes);
  if (focused) {
    const again = $("main").querySelector(`[data-id="${CSS.escape(focused)}"]`);
    if (again) again.focus({ preventScroll: true });
  }
}

function more(data) {
  const rest = data.total - data.rows.length;
  return rest > 0 ? el("p", { class: "more" }, `and ${rest} more: search or filter to see them`) : null;
}

async function showIncidents(query) {
  const data = await get("/api/incidents", filters(query));
  const rows = data.rows.map((row) => el("li", { class: "card " + row.severity },
    el("a", { href: href({ incident: row.id }), "data-id": row.id },
      el("div", { class: "row" },
        el("span", { class: "tag " + row.severity }, row.severity),
        el("h2", {}, row.title),
        row.acknowledged_by ? el("span", { class: "tag ack" }, "acknowledged by " + row.acknowledged_by) : null,
        time(row.starts_at, "since ")),
      el("p", {}, row.summary),
      el("p", {}, hostsText(row)))));
  put("incidents" + JSON.stringify(data) + minute(), [
    el("h1", { class: "hidden" }, "Incidents"),
    rows.length ? el("ol", { class: "list" }, ...rows) : el("p", { class: "empty" }, any(query) ? "No incident matches." : "Nothing fires. All is well."),
    more(data)].filter(Boolean));
  document.title = (data.total ? `(${data.total}) ` : "") + "dockwarden fleet";
}

function hostsText(row) {
  const rest = row.hosts_total - row.hosts.length;
  return (row.hosts_total === 1 ? "Host " : row.hosts_total + " hosts: ") + row.hosts.join(", ") + (rest > 0 ? ` and ${rest} more` : "") +
    (row.alerts_total > 1 ? `, ${row.alerts_total} alerts` : "");
}

async function showHosts(query) {
  const data = await get("/api/hosts", filters(query));
  const cell = (name, content, number) => el("td", { "data-name": name, class: number ? "number" : null }, content);
  const rows = data.rows.map((row) => el("tr", {},
    cell("Host", el("a", { href: href({ host: row.host }, false), "data-id": row.host }, row.host)),
    cell("State", el("span", { class: "row" }, el("span", { class: "tag " + row.condition }, row.condition),
      row.frozen ? el("span", { class: "tag frozen" }, "frozen") : null)),
    cell("Firing", String(row.firing), true), cell("Mode", row.mode || "-"), cell("Version", row.version || "-"),
    cell("Rules", row.rules_version || "-"), cell("Waiting", String(row.outbox_depth), true),
    cell("Problems", row.problems.join("; ") || "-"), cell("Seen", time(row.seen_at)),
    cell("Command", me.operator ? el("button", { type: "button", "data-id": "f" + row.host,
      onclick: () => command(row.frozen ? "unfreeze" : "freeze", row.host, {}) }, row.frozen ? "Unfreeze" : "Freeze") : "-")));
  const heads = ["Host", "State", "Firing", "Mode", "Version", "Rules", "Waiting", "Problems", "Seen", "Command"];
  put("hosts" + JSON.stringify(data) + minute() + me.operator, [
    el("h1", { class: "hidden" }, "Hosts"),
    rows.length ? el("table", {}, el("caption", { class: "hidden" }, "Hosts"), el("thead", {}, el("tr", {}, ...heads.map((head) =>
      el("th", { scope: "col", class: head === "Firing" || head === "Waiting" ? "number" : null }, head)))), el("tbody", {}, ...rows))
      : el("p", { class: "empty" }, any(query) ? "No host matches." : "No host has reported yet."),
    more(data)].filter(Boolean));
  document.title = "Hosts - dockwarden fleet";
}

function filters(query) {
  return Object.fromEntries(["q", "severity", "condition", "host"].filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
}
const any = (query) => Object.keys(filters(query)).length > 0;
const minute = () => String(Math.floor(Date.now() / 30000));

// -- one incident --------------------------------------------------------------------------------------------------------

async function showIncident(query) {
  let data;
  try {
    data = await get("/api/incident", { id: query.get("incident") });
  } catch (error) {
    put("gone" + error.message, [back(), el("p", { class: "empty" }, "This incident is over: " + error.message + ".")]);
    return;
  }
  const key = "incident" + JSON.stringify(data) + me.operator;
  if (key === shown) return;
  const frame = el("div", { class: "frame" });
  frame.innerHTML = data.picture;  // made and escaped by the server
  const events = el("ol", { class: "events" }, ...data.entries.map((entry) =>
    el("li", { class: entry.tone }, el("time", { datetime: entry.at }, entry.at.slice(0, 23).replace("T", " ")), entry.text)));
  const nodes = [back(),
    el("section", { class: "panel" },
      el("div", { class: "row" }, el("span", { class: "tag " + data.severity }, data.severity), el("h1", {}, data.title),
        data.acknowledged_by ? el("span", { class: "tag ack" }, "acknowledged by " + data.acknowledged_by) : null, time(data.starts_at, "since ")),
      el("p", {}, data.summary), el("p", {}, hostsText(data))),
    el("section", { class: "panel", tabindex: "0", "aria-label": "What happened" }, el("h2", {}, "What happened"), frame, events)];
  for (const alert of data.alerts) nodes.push(alertPanel(alert));
  if (data.omitted) nodes.push(el("p", { class: "more" }, `and ${data.omitted} more alerts of this incident`));
  put(key, nodes);
  document.title = data.title + " - dockwarden fleet";
  showRunbook(data.rule, nodes[1]);
}

function back() {
  return el("p", {}, el("a", { href: href({ incident: "" }) }, "Back to incidents"));
}

function alertPanel(alert) {
  const about = { rule: alert.rule, key: alert.key };
  const container = (alert.evidence.find((fact) => fact.container_id || fact.fact === "container") || {});
  const button = (label, name, params) => el("button", { type: "button", "data-id": name + alert.host + alert.rule + alert.key,
    onclick: () => command(name, alert.host, params) }, label);
  return el("section", { class: "panel" },
    el("h2", {}, `${alert.host}: ${alert.title}`),
    el("p", {}, alert.description || alert.summary),
    alert.next ? el("p", {}, el("b", {}, "Next: "), alert.next) : null,
    el("p", { class: "row" }, el("span", {}, `rule ${alert.rule}`), alert.key ? el("span", {}, `key ${alert.key}`) : null,
      el("span", {}, `fired ${alert.count} times`), el("span", {}, `rules ${alert.rules_version || "-"}`),
      link(alert.runbook_url)),
    me.operator ? el("div", { class: "buttons" }, button("Acknowledge", "ack", about), button("Silence", "silence", about),
      button("Freeze host", "freeze", {}), button("Retry now", "retry-now", { container: container.container_id || container.id || "" })) : null,
    el("details", {}, el("summary", {}, `Evidence: ${alert.evidence.length + alert.evidence_omitted} facts`),
      ...alert.evidence.map((fact) => el("pre", { tabindex: "0" }, JSON.stringify(fact, null, 2)))));
}

function link(url) {
  return url && /^https?:\/\//i.test(url) ? el("a", { href: url, rel: "noreferrer noopener" }, "Runbook") : url ? el("span", {}, url) : null;
}

async function showRunbook(rule, after) {
  try {
    const { html } = await get("/api/runbook", { rule });
    const body = el("div", { class: "runbook" });
    body.innerHTML = html;  // rendered by the server without raw markup
    after.after(el("details", { class: "panel" }, el("summary", {}, "Runbook"), body));
  } catch { /* there is none */ }
}

// -- commands ------------------------------------------------------------------------------------------------------------

const TITLES = { ack: "Acknowledge", silence: "Silence", freeze: "Freeze", unfreeze: "Unfreeze", "retry-now": "Retry now", explain: "Explain" };

function dialog(title, body, submit) {
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(...body);
  $("dialog-error").textContent = "";
  $("dialog-form").onsubmit = async (event) => {
    event.preventDefault();
    $("dialog-ok").disabled = true;
    $("dialog-error").textContent = "";
    try {
      await submit();
      $("dialog").close();
    } catch (error) {
      $("dialog-error").textContent = error.message;
    } finally {
      $("dialog-ok").disabled = false;
    }
  };
  $("dialog").showModal();
}

function command(name, host, params) {
  const reason = el("input", { id: "reason", maxlength: "512" });
  const hours = el("select", { id: "hours" }, ...[["1", "1 hour"], ["4", "4 hours"], ["24", "1 day"], ["168", "1 week"]].map(([value, label]) => el("option", { value }, label)));
  const body = [el("p", {}, `${TITLES[name]} on ${host}, as ${me.operator}`)];
  if (name === "silence") body.push(el("label", { for: "hours" }, "For"), hours);
  body.push(el("label", { for: "reason" }, "Reason (stands in the audit)"), reason);
  dialog(TITLES[name], body, async () => {
    const all = { ...params, reason: reason.value };
    if (name === "silence") all.seconds = Number(hours.value) * 3600;
    const response = await fetch("/api/command", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: "Bearer " + token },
      body: JSON.stringify({ name, host, params: all }),
    });
    const reply = await response.json();
    if (!response.ok || reply.ok === false) throw new Error(reply.error || "refused");
    $("announce").textContent = `${TITLES[name]} on ${host}: done`;
  });
}

function login() {
  if (me.operator) {
    token = "";
    sessionStorage.removeItem("token");
    whoami().then(() => { shown = ""; render(); });
    return;
  }
  const field = el("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  dialog("Log in", [el("p", {}, "With a token you can acknowledge, silence, freeze and retry. It stays in this tab."), el("label", { for: "token" }, "Token"), field], async () => {
    token = field.value;
    await whoami();
    if (!me.operator) { token = ""; throw new Error("This token is not known."); }
    sessionStorage.setItem("token", token);
    shown = "";
    render();
  });
}

async function whoami() {
  me = await get("/api/me");
  $("login").hidden = !me.commands;
  $("login").textContent = me.operator ? `Log out ${me.operator}` : "Log in";
}

// -- following -----------------------------------------------------------------------------------------------------------

async function render() {
  const { view, query } = state();
  for (const name of ["incidents", "hosts"]) {
    const current = name === view || (name === "incidents" && view === "incident");
    current ? $("nav-" + name).setAttribute("aria-current", "page") : $("nav-" + name).removeAttribute("aria-current");
  }
  if (document.activeElement !== $("q")) $("q").value = query.get("q") || "";
  try {
    if (view === "hosts") await showHosts(query);
    else if (view === "incident") await showIncident(query);
    else await showIncidents(query);
  } catch (error) {
    put("error" + error.message, [el("p", { class: "empty" }, "The fleet engine does not answer: " + error.message)]);
  }
}

function update() {  // one request at a time, and one more when something came in between
  if (pending) { pending = "again"; return; }
  pending = true;
  render().finally(() => { const again = pending === "again"; pending = false; if (again) update(); });
}

function follow() {
  const events = new EventSource("/api/events");
  events.addEventListener("changed", (event) => {
    $("link").textContent = "live";
    $("link").className = "link live";
    numbers(JSON.parse(event.data));
    if (!document.hidden) update();
  });
  events.onerror = () => {
    $("link").textContent = "reconnecting";
    $("link").className = "link";
  };
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("a");
  if (!target || target.origin !== location.origin || event.ctrlKey || event.metaKey || event.shiftKey || target.hash) return;
  event.preventDefault();
  go(target.getAttribute("href"));
});
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); $("q").focus(); }
  else if (event.key === "Escape" && document.activeElement === $("q")) $("q").blur();
  else if ((event.key === "j" || event.key === "k") && !typing && !$("dialog").open) {
    const links = [...$("main").querySelectorAll("a[data-id]")];
    const at = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
    if (links[at]) links[at].focus();
  }
});
let timer;
$("q").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => go(href({ q: $("q").value, incident: "" }), { replace: true, focus: false }), 150);
});
$("search").addEventListener("submit", (event) => event.preventDefault());
$("login").addEventListener("click", login);
$("dialog-cancel").addEventListener("click", () => $("dialog").close());
window.addEventListener("popstate", () => { shown = ""; render(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });

Promise.all([get("/api/overview").then(numbers), render()]).catch(() => {});
whoami().catch(() => {}).then(() => me.operator && (shown = "", render()));
follow();
