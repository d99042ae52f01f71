"use strict";

// Everything that comes from a message is written as text, never as markup.

const POLL_MS = 2000;
const SLOWEST_MS = 30000;
const SHOWN = 12;
const VERDICTS = { AA: ["Accepted", "current"], AE: ["Error", "error"], AR: ["Rejected", "error"] };

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- copy buttons ---------------------------------------------------------------------------------------------------

function addCopyButtons() {
  if (!navigator.clipboard) return;
  for (const command of document.querySelectorAll("pre.command")) {
    const button = element("button", "copy", "Copy");
    button.type = "button";
    button.setAttribute("aria-describedby", command.getAttribute("aria-labelledby"));
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select the line to copy it";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    command.after(button);
  }
}

// --- inbox ----------------------------------------------------------------------------------------------------------

function verdictOf(payload) {
  const root = new DOMParser().parseFromString(payload, "application/xml");
  const acknowledgement = root.getElementsByTagNameNS("*", "acknowledgement")[0];
  const type = acknowledgement && acknowledgement.getAttribute("typeCode");
  if (!VERDICTS[type]) return null;
  const codes = [...root.getElementsByTagNameNS("*", "justifyingDetectedIssueEvent")]
    .map((issue) => issue.getElementsByTagNameNS("*", "code")[0])
    .filter((code) => code && type !== "AA")
    .map((code) => code.getAttribute("code"));
  const [words, tone] = VERDICTS[type];
  return { words: [words, ...codes].join(" "), tone };
}

function row(party, message) {
  const item = element("li", "fresh");
  const head = element("p", "head");
  const received = new Date(message.received_at);
  const time = element("time", "", Number.isNaN(received.getTime()) ? message.received_at : received.toLocaleTimeString("en-GB"));
  time.dateTime = message.received_at;
  head.append(time, element("code", "", message.action));
  const verdict = verdictOf(message.payload);
  if (verdict) head.append(element("span", `tag tag-${verdict.tone}`, verdict.words));
  const details = element("details");
  details.append(element("summary", "", `Message ${message.n}`), element("pre", "", message.payload));
  details.lastChild.tabIndex = 0;
  item.append(head, element("p", "ids", `to ${party}, in reply to ${message.ref_to_message_id || "nothing"}`), details);
  item.dataset.received = message.received_at;
  return item;
}

function startInbox(section) {
  const status = document.getElementById("inbox-status");
  const list = document.getElementById("inbox-list");
  const parties = (section.dataset.parties || "").split(" ").filter(Boolean);
  const since = new Map(parties.map((party) => [party, 0]));
  let total = 0;
  let wait = POLL_MS;
  let first = true;

  function say(words, state) {
    // A status that does not change is not announced again.
    if (status.textContent !== words) status.textContent = words;
    status.className = `status ${state}`;
  }

  async function fetchNew(party) {
    const answer = await fetch(`/demo/inbox/${encodeURIComponent(party)}?since=${since.get(party)}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const { next, messages } = await answer.json();
    if (next < since.get(party)) { // the service started afresh, and counts from the beginning
      since.set(party, 0);
      return [];
    }
    since.set(party, next);
    return messages.map((message) => row(party, message));
  }

  async function poll() {
    try {
      const rows = (await Promise.all(parties.map(fetchNew))).flat();
      rows.sort((a, b) => (a.dataset.received < b.dataset.received ? 1 : -1));
      if (rows.length) {
        for (const old of list.querySelectorAll(".fresh")) old.classList.remove("fresh");
        if (first) for (const one of rows) one.classList.remove("fresh");
        list.prepend(...rows.slice(0, SHOWN));
        while (list.children.length > SHOWN) list.lastChild.remove();
        total += rows.length;
      }
      first = false;
      wait = POLL_MS;
      say(total ? `Listening. ${total} received, the newest ${Math.min(total, SHOWN)} shown.` : "Listening. Nothing received yet: try the first curl line.", "live");
    } catch {
      wait = Math.min(wait * 2, SLOWEST_MS);
      say("The service does not answer; trying again.", "lost");
    }
  }

  async function run() {
    if (!document.hidden) await poll();
    setTimeout(run, wait);
  }
  if (parties.length) run();
  else say("No client system is registered.", "");
}

addCopyButtons();
startInbox(document.getElementById("inbox-section"));
