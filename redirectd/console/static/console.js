// Keys and small comforts. Everything here can be done without it: it clicks what is on the page, and decides nothing.
"use strict";

const page = document;
const rows = [...page.querySelectorAll("[data-row]")];
const decide = page.getElementById("decide");
const reason = page.getElementById("reason");
const live = page.getElementById("live");
const all = page.getElementById("all");
const SOON = 700; // milliseconds in which a key that was meant for the page before may still come
const shownAt = performance.now();
let here = -1;

for (const one of page.querySelectorAll(".scripted")) one.hidden = false;

const box = (row) => row.querySelector("input[type=checkbox]");
const chosen = () => rows.filter((row) => box(row)?.checked);

function say(text) {
  live.textContent = text;
  live.hidden = false;
}

function go(to) {
  if (!rows.length) return;
  rows[here]?.classList.remove("here");
  here = Math.max(0, Math.min(rows.length - 1, to));
  rows[here].classList.add("here");
  rows[here].querySelector(".open").focus({ preventScroll: true });
  rows[here].scrollIntoView({ block: "nearest" });
}

function count() {
  const place = page.getElementById("chosen");
  if (!place) return;
  const many = chosen().length;
  place.textContent = many ? `${many} chosen` : "";
  all.checked = many > 0 && many === rows.length;
}

function press(action) {
  const button = decide?.querySelector(`button[value=${action}]`);
  if (!button) return say(`there is nothing to ${action} here`);
  if (!rows.length && page.querySelector(".notice") && performance.now() - shownAt < SOON) {
    return say("this is the next remap: look at it, then press again");
  }
  if (rows.length) {
    if (here < 0 && !chosen().length) return say("go to a remap first: j");
    if (!chosen().length) box(rows[here]).checked = true;
    count();
  }
  const about = rows.length ? chosen() : [decide];
  if (action === "approve" && about.some((one) => one.dataset.needs)) {
    say("this is held: one key does not approve it. Write the reason, then press the button");
    reason.focus();
    return;
  }
  if (action === "approve" && about.some((one) => "choose" in one.dataset)) {
    return say("it has several Contacts: open it to choose one");
  }
  decide.requestSubmit(button);
}

const follow = (id) => page.getElementById(id)?.click();
const keys = {
  j: () => (rows.length ? go(here + 1) : follow("next")),
  k: () => (rows.length ? go(here - 1) : page.referrer && history.back()),
  s: () => (rows.length ? go(here + 1) : follow("next")),
  o: () => rows[here]?.querySelector(".open").click(),
  x: () => {
    const mark = rows[here] && box(rows[here]);
    if (!mark) return;
    mark.checked = !mark.checked;
    count();
  },
  a: () => press("approve"),
  r: () => press("reject"),
  u: () => page.getElementById("undo")?.requestSubmit() ?? say("there is nothing to undo on this page"),
  "/": () => {
    const filters = page.getElementById("filters");
    if (!filters) return follow("back");
    filters.open = true;
    page.getElementById("filter").focus();
  },
  "?": () => page.getElementById("keys")?.showModal(),
};

page.addEventListener("keydown", (event) => {
  const at = event.target;
  const writes = at.matches("textarea, select, input:not([type=checkbox]):not([type=radio])");
  if (event.key === "Escape" && writes) at.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || writes || page.querySelector("dialog[open]")) return;
  const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (!act || !page.body.dataset.page) return;
  event.preventDefault();
  act();
});

page.addEventListener("change", (event) => {
  if (event.target === all) for (const row of rows) box(row).checked = all.checked;
  count();
});

page.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("[data-row]");
  if (!row || rows[here] === row) return;
  rows[here]?.classList.remove("here");
  here = rows.indexOf(row);
  row.classList.add("here");
});

// A second press of a button while the answer is on its way sends nothing.
let sent = false;
page.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (sent) event.preventDefault();
  sent = true;
});
addEventListener("pageshow", () => {
  sent = false;
  count();
});
