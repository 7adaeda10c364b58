// Keeps a page up to date: the page itself is asked for again, and what changed in it is put in place.
// What has the focus stays, and so does what is open or half typed.
"use strict";

const EVERY_MS = 3000;
const MOST_SPOKEN = 3;

const badge = document.getElementById("live");
const pause = document.getElementById("pause");
const spoken = document.getElementById("spoken");
let paused = false;
let ended = false;

function show(text, kind) {
  badge.hidden = false;
  // A status that is written again would be read out again.
  if (badge.textContent !== text) badge.textContent = text;
  badge.className = `badge ${kind}`;
}

function states(root) {
  const told = new Map();
  for (const element of root.querySelectorAll("[data-state]")) told.set(element.id, [element.dataset.name, element.dataset.state]);
  return told;
}

function sameAttributes(from, to) {
  for (const { name } of Array.from(from.attributes)) {
    // Who opened it wants it open, and what is lit up goes out by itself.
    if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details") && name !== "class") from.removeAttribute(name);
  }
  for (const { name, value } of Array.from(to.attributes)) {
    if (name === "value" && from === document.activeElement) continue;
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

// Makes the children of one element like those of another, and touches only what differs. What has another id is
// another thing: a button never turns into its opposite under somebody's finger.
function become(from, to) {
  const byId = new Map();
  for (const child of from.children) if (child.id) byId.set(child.id, child);
  let at = from.firstChild;
  for (const wanted of Array.from(to.childNodes)) {
    const known = wanted.nodeType === Node.ELEMENT_NODE && wanted.id ? byId.get(wanted.id) : undefined;
    if (known && known !== at) from.insertBefore(known, at);
    const here = known ?? at;
    const fits = here && here.nodeType === wanted.nodeType && here.nodeName === wanted.nodeName
      && (here.id ?? "") === (wanted.id ?? "");
    if (!fits) {
      from.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (wanted.nodeType === Node.ELEMENT_NODE) {
      sameAttributes(here, wanted);
      become(here, wanted);
    } else if (here.nodeValue !== wanted.nodeValue) {
      here.nodeValue = wanted.nodeValue;
    }
    at = here.nextSibling;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// A button that is gone takes the focus along: it goes to what is nearest and stays.
function keepFocus(held, places) {
  if (!held || held.isConnected) return;
  for (const place of places) {
    const near = document.getElementById(place)?.querySelector("a, button, summary");
    if (near) return near.focus({ preventScroll: true });
  }
}

function take(page) {
  const before = states(document);
  const held = document.activeElement;
  const places = [held?.closest("[data-state]")?.id, held?.closest("[data-live]")?.id];
  for (const wanted of page.querySelectorAll("[data-live]")) {
    const here = document.getElementById(wanted.id);
    if (here && !here.isEqualNode(wanted)) become(here, wanted);
  }
  keepFocus(held, places);
  const news = [];
  for (const [id, [name, state]] of states(document)) {
    if (!before.has(id) || before.get(id)[1] === state) continue;
    news.push(`${name} is ${state}`);
    const element = document.getElementById(id);
    element.classList.remove("changed");
    // Asked for, so that the browser begins the animation anew.
    void element.offsetWidth;
    element.classList.add("changed");
  }
  if (news.length > MOST_SPOKEN) news.splice(MOST_SPOKEN, news.length, `and ${news.length - MOST_SPOKEN} more changed`);
  if (news.length > 0) spoken.textContent = news.join("; ");
}

async function look() {
  if (paused || ended || document.hidden) return;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
    if (new URL(answer.url).pathname !== location.pathname) {
      ended = true;
      show("signed out: load the page again", "bad");
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (paused) return;
    take(page);
    show("live", "good");
  } catch {
    show("connection lost, trying again", "bad");
  }
}

async function follow() {
  await look();
  if (!ended) setTimeout(follow, EVERY_MS);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
  show(paused ? "paused" : "live", paused ? "warn" : "good");
  if (!paused) look();
});
document.addEventListener("visibilitychange", look);
// What was done is told once.
if (new URLSearchParams(location.search).has("done")) history.replaceState(null, "", location.pathname);
show("live", "good");
setTimeout(follow, EVERY_MS);
