/** Modals of the bot. */

import { h, icon } from "./dom.js";
import { markdown } from "./markdown.js";
import { selectMenu } from "./select.js";
import { store } from "./store.js";

/** Show a modal; submit(values, files) returns a promise, and may throw words for the person. */
export function openModal(payload, submit) {
  const values = {};
  const files = [];
  const error = h("div.modal-error", { role: "alert", testid: "modal-error", hidden: true });
  const send = h("button.button.primary", { type: "submit", testid: "modal-submit" }, "Submit");
  const close = () => dialog.close();

  const CONTROLS = {
    4: (item, id, required) => h(item.style === 2 ? "textarea" : "input", {
      id, required, rows: item.style === 2 ? 4 : null, type: item.style === 2 ? null : "text", placeholder: item.placeholder,
      minlength: item.min_length, maxlength: item.max_length ?? 4000, value: item.value ?? "", testid: `modal-field-${item.custom_id}`,
      "data-custom": item.custom_id,
    }),
    19: (item, id, required) => h("input", {
      id, type: "file", required, multiple: (item.max_values ?? 1) > 1, testid: `modal-field-${item.custom_id}`,
      onchange: (event) => {
        values[item.custom_id] = { files: [...event.target.files].map((file) => files.push(file) - 1) };
      },
    }),
    21: (item) => h("div.modal-options", { role: "radiogroup" }, item.options.map((option) => choice(item, option, "radio"))),
    22: (item) => h("div.modal-options", {}, item.options.map((option) => choice(item, option, "checkbox"))),
    23: (item, id) => h("input", { id, type: "checkbox", checked: item.default, "data-check": item.custom_id, testid: `modal-field-${item.custom_id}` }),
  };
  for (const kind of [3, 5, 6, 7, 8]) {
    CONTROLS[kind] = (item) => selectMenu(item, { testid: `modal-field-${item.custom_id}`, onchange: (chosen) => { values[item.custom_id] = chosen; } });
  }

  const form = h("form.modal-form", {
    onsubmit: async (event) => {
      event.preventDefault();
      if (!form.reportValidity()) return;
      send.disabled = true;
      try {
        await submit(collect(), files);
        close();
      } catch (refusal) {
        error.textContent = refusal.message;
        error.hidden = false;
      } finally {
        send.disabled = false;
      }
    },
  },
    h("header", {}, h("img.avatar", { src: store.bot.avatar, alt: "", width: 32, height: 32 }), h("h2", {}, payload.title),
      h("button.round", { type: "button", "aria-label": "Close", onclick: close }, icon("close"))),
    h("div.modal-note", {}, icon("warning", 16), ` This form will be submitted to ${store.bot.name}. Do not share passwords or other sensitive information.`),
    h("div.modal-fields", {}, payload.components.map(part)), error,
    h("footer", {}, h("button.button.quiet", { type: "button", onclick: close }, "Cancel"), send));

  function part(item) {
    if (item.type === 1) return item.components.map((child) => field(child, child.label, null));
    if (item.type === 18) return field(item.component, item.label, item.description);
    if (item.type === 10) return h("div.text", {}, markdown(item.content));
    return null;
  }

  function field(item, label, description) {
    const required = item.required ?? true;
    const id = `modal-${item.custom_id}`;
    const control = CONTROLS[item.type]?.(item, id, required) ?? h("div.muted", {}, `[field ${item.type}]`);
    return h("div.modal-field", {},
      h("label", { for: id }, label, required ? h("span.required", { "aria-label": "required" }, " *") : null),
      description ? h("div.muted", {}, description) : null, control);
  }

  function choice(item, option, kind) {
    return h("label.modal-choice", {}, h("input", { type: kind, name: item.custom_id, value: option.value, checked: option.default }),
      h("span", {}, option.label, option.description ? h("small.muted", {}, option.description) : null));
  }

  function collect() {
    for (const input of form.querySelectorAll("[data-custom]")) values[input.dataset.custom] = input.value;
    for (const input of form.querySelectorAll("[data-check]")) values[input.dataset.check] = input.checked;
    for (const item of payload.components.map((entry) => entry.component).filter(Boolean)) {
      const picked = [...form.querySelectorAll(`input[name="${CSS.escape(item.custom_id)}"]:checked`)].map((input) => input.value);
      if (item.type === 21 && picked.length) [values[item.custom_id]] = picked;
      if (item.type === 22) values[item.custom_id] = picked;
    }
    return values;
  }

  // Escape closes it, too.
  const dialog = h("dialog.modal", { testid: "modal", "aria-label": payload.title, onclose: () => dialog.remove() }, form);
  document.getElementById("layers").append(dialog);
  dialog.showModal();
  form.querySelector("[data-custom], input, .select-button")?.focus();
}
