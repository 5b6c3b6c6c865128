/** Talks with the sandbox: what the page asks, and the stream of events it is told. */

import { store } from "./store.js";

/** What the sandbox refused, in words for the person who asked. */
export class Refused extends Error {}

async function read(response) {
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Refused(text || response.statusText);
  }
  if (!response.ok) throw new Refused(body.error ?? response.statusText);
  return body;
}

export async function get(path) {
  const user = store.me ? `?user=${store.me.id}` : "";
  return read(await fetch(`/sandbox/${path}${user}`));
}

/** Post JSON, with files beside it if there are any. */
export async function post(path, body, files = []) {
  const json = JSON.stringify({ user: store.me.id, ...body });
  if (!files.length) {
    return read(await fetch(`/sandbox/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: json }));
  }
  const form = new FormData();
  form.append("payload_json", json);
  files.forEach((file, number) => form.append(`files[${number}]`, file, file.name));
  return read(await fetch(`/sandbox/${path}`, { method: "POST", body: form }));
}

let stream = null;

/** Listen to the events of the current user, in place of the one before. */
export function listen(onEvent, onLost) {
  stream?.close();
  stream = new EventSource(`/sandbox/events?user=${store.me.id}`);
  let lost = false;
  stream.onmessage = (message) => onEvent(JSON.parse(message.data));
  stream.onerror = () => {
    lost = true;
    onLost(true);
  };
  stream.onopen = () => {
    if (lost) {
      lost = false;
      onLost(false);
    }
  };
}
