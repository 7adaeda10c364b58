// The live tail. What was captured comes from strangers: it becomes text nodes, never markup.
"use strict";

const MOST_ROWS = 200;
const SPEAK_EVERY_MS = 10000;
const MARKS = new Map([["aborted_by_client", "client left"], ["aborted_by_server", "server left"], ["cut", "cut"]]);
// The same characters as visible.rs writes out.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu;

const tail = document.getElementById("tail");
if (tail) follow(tail);

function visible(value, most) {
  const text = Array.from(String(value ?? "").slice(0, 2 * most));
  const shown = text.slice(0, most).join("").replace(HIDDEN, (character) => {
    const code = character.codePointAt(0);
    const digits = code.toString(16).toUpperCase();
    return code < 0x20 || code === 0x7f ? `\u27e8${digits.padStart(2, "0")}\u27e9` : `\u27e8U+${digits.padStart(4, "0")}\u27e9`;
  });
  return text.length > most ? shown + "\u2026" : shown;
}

function duration(ns) {
  if (!(ns > 0)) return "0";
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${Math.floor(ns / 1e3)} \u00b5s`;
  if (ns < 1e9) return `${ns < 1e7 ? (ns / 1e6).toFixed(2) : ns < 1e8 ? (ns / 1e6).toFixed(1) : Math.floor(ns / 1e6)} ms`;
  if (ns < 6e10) return `${(ns / 1e9).toFixed(ns < 1e10 ? 2 : 1)} s`;
  const seconds = Math.floor(ns / 1e9);
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

function size(bytes) {
  if (!(bytes >= 1024)) return `${bytes ?? 0} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 999.5 && unit + 1 < units.length) { value /= 1024; unit += 1; }
  return `${value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function isolated(...children) {
  return element("bdi", "", ...children);
}

function row(pair) {
  const more = pair.wayside ?? {};
  const http = pair.l7protocol === "http";
  const status = pair.http?.res?.statusCode;
  const [date, clock] = String(pair.ts).replace("Z", "").split("T");
  const [seconds, fraction] = String(clock ?? "").split(".");
  const time = element("time", "", element("span", "date", visible(date, 10)), ` ${visible(seconds, 8)}.${visible((fraction ?? "").padEnd(3, "0"), 3).slice(0, 3)}`);
  time.dateTime = visible(pair.ts, 40);
  const link = document.createElement("a");
  // The id is ours, and still only digits go into an address.
  link.href = "/pairs/" + String(more.id).replace(/[^0-9a-f-]/g, "");
  const asked = pair.http?.req?.uri ?? "";
  const query = asked.includes("?") ? asked.slice(asked.indexOf("?")) : "";
  const place = pair.location || (http ? "/" : more.upstream) || "unreachable";
  link.append(isolated(visible(place, 200), element("span", "query", visible(query, 120))));
  const marks = element("td", "flags");
  const mark = (text, kind) => marks.append(element("span", `badge ${kind}`, text), " ");
  if (more.end !== "complete") mark(MARKS.get(more.end) ?? "unknown end", "bad");
  const findings = (more.findings ?? []).length;
  if (findings > 0) mark(findings === 1 ? "1 finding" : `${findings} findings`, "warn");
  if (more.request?.truncated || more.response?.truncated) mark("cut short", "note");
  const kind = Number.isInteger(status) && status >= 100 && status < 600 ? `s${Math.floor(status / 100)}` : "s0";
  const sizes = (side, label) => {
    const cell = element("td", "n size", side ? size(side.body_bytes) : "\u2013");
    cell.dataset.label = label;
    return cell;
  };
  return element("tr", "new",
    element("td", "time", time),
    element("td", "service", isolated(visible(pair.service, 60))),
    element("td", "method", visible(http ? pair.command : pair.l7protocol, 20)),
    element("td", "path", link),
    element("td", "n status", element("span", kind, visible(status ?? "\u2013", 3))),
    element("td", "n duration", duration(more.duration_ns)),
    sizes(more.request, "sent"), sizes(more.response, "got"), marks);
}

function follow(place) {
  const at = (id) => document.getElementById(id);
  const [rows, pause, state, counts, missedAt, spoken, waiting] =
    ["rows", "pause", "state", "counts", "missed", "spoken", "waiting"].map(at);
  let seen = 0, missed = 0, held = 0, paused = false, told = 0;
  place.hidden = false;

  const tell = () => {
    const heldText = held > 0 ? `, ${held} not shown while paused` : "";
    counts.textContent = `${seen} ${seen === 1 ? "exchange" : "exchanges"}${heldText}`;
    missedAt.hidden = missed === 0;
    missedAt.textContent = missed === 0 ? "" : `${missed} missed: they came faster than this page reads; the list has them`;
    // A voice that read out every row would never be silent.
    if (Date.now() - told > SPEAK_EVERY_MS) {
      told = Date.now();
      spoken.textContent = counts.textContent;
    }
  };
  const show = (text, kind) => {
    state.textContent = text;
    state.className = `badge ${kind}`;
  };
  const live = () => show(paused ? "paused" : "live", paused ? "warn" : "good");

  const events = new EventSource(place.dataset.events);
  events.addEventListener("open", live);
  events.addEventListener("error", () => {
    show(events.readyState === EventSource.CLOSED ? "ended: load the page again" : "connection lost, trying again", "bad");
  });
  events.addEventListener("missed", (event) => {
    missed += Number(JSON.parse(event.data).missed) || 0;
    tell();
  });
  events.addEventListener("pair", (event) => {
    seen += 1;
    if (paused) {
      held += 1;
    } else {
      rows.prepend(row(JSON.parse(event.data)));
      while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1);
      waiting.hidden = true;
    }
    tell();
  });
  pause.addEventListener("click", () => {
    paused = !paused;
    if (!paused) held = 0;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    live();
    tell();
  });
  addEventListener("pagehide", () => events.close());
}
