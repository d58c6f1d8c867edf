// Keys, and saving without losing anything. Pages work without this file, by plain forms.
"use strict";

const root = document.documentElement.dataset;
const status = document.querySelector(".status");
const WAITS_MS = [500, 1000, 2000, 4000, 8000];

// What could not be sent yet. It outlives the page, where the browser has room for it; a retry has
// the same nonce, so that the server stores it once.
const outbox = {
  name: `tamis-review-${root.run}`,
  entries: [],
  isKept: true,
  load() {
    if (!this.isKept) return; // the entries of this page are more than what is in the storage
    try {
      this.entries = JSON.parse(localStorage.getItem(this.name)) || [];
    } catch {
      return;
    }
  },
  save() {
    try {
      localStorage.setItem(this.name, JSON.stringify(this.entries));
    } catch {
      this.isKept = false;
    }
  },
  add(entry) {
    this.load();
    this.entries.push(entry);
    this.save();
  },
  remove(entry) {
    this.load();
    this.entries = this.entries.filter((other) => other.nonce !== entry.nonce);
    this.save();
  },
};

function say(text, isBad = false) {
  if (status) {
    status.textContent = text;
    status.classList.toggle("bad", isBad);
  }
}

function newNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Send one entry; gives "stored", "refused", or "again" where no answer came.
async function post(entry) {
  let answer;
  try {
    answer = await fetch("/decide", {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        "X-Tamis-CSRF": root.csrf,
      },
      body: JSON.stringify(entry),
    });
  } catch {
    say("Not saved yet: the server does not answer. Trying again …", true);
    return "again";
  }
  if (answer.ok) return "stored";
  const told = await answer.json().catch(() => ({ error: answer.statusText }));
  if (answer.status >= 500) {
    say(`Not saved yet: ${told.error}. Trying again …`, true);
    return "again";
  }
  if (answer.status === 403) {
    say(`Not saved yet, but kept in this browser: ${told.error}.`, true);
    return "kept";
  }
  say(`Not saved: ${told.error}.`, true);
  return "refused";
}

// Send everything in turn. True if all of it is stored.
async function flush() {
  outbox.load();
  let tries = 0;
  while (outbox.entries.length) {
    const [entry] = outbox.entries;
    const result = await post(entry);
    if (result === "again") {
      await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)]);
      tries += 1;
      outbox.load();
      continue;
    }
    if (result === "kept") return false;
    outbox.remove(entry);
    if (result === "refused") return false;
    tries = 0;
  }
  return true;
}

let isSaving = false;

// The page moves on when the answer is on the server's disk, and ignores keys until then: a key
// never judges a pair that was not on screen.
async function decide(form, button) {
  if (isSaving) return;
  isSaving = true;
  const { csrf, next, ...entry } = Object.fromEntries(new FormData(form, button));
  for (const other of form.querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  outbox.add({ ...entry, nonce: newNonce() });
  say("Saving …");
  const isStored = await flush();
  isSaving = false;
  if (isStored) location.assign(next);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-save]")) return;
  event.preventDefault();
  decide(event.target, event.submitter);
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog).showModal();
});

function isTyping(target) {
  return target.matches("textarea, select, input:not([type=checkbox])");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.defaultPrevented || isTyping(event.target)) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog) {
    if (event.key === "?") dialog.close();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "/") {
    const field = document.querySelector("[data-focus='/']");
    if (field) {
      event.preventDefault();
      field.focus();
    }
    return;
  }
  for (const element of document.querySelectorAll("[data-keys]")) {
    if (element.dataset.keys.split(" ").includes(key)) {
      event.preventDefault();
      element.click();
      return;
    }
  }
});

// A page that the browser kept when it was left would show an old state.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

outbox.load();
if (outbox.entries.length) {
  flush().then((isStored) => isStored && location.reload());
}
