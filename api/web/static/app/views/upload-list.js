// The list of the files of an upload, of which only the rows in sight exist on the page.
import { t } from "../i18n.js";
import { bytes, fileName, h, icon, iconButton, replace } from "../ui.js";

const rowHeight = 46; // pixels, as upload.css has it
const spareRows = 6; // beyond what is seen
const drawings = { ready: "check", invalid: "warning", failed: "warning", uploading: "up", uploaded: "clock" };

/** Changes a text where it is another, which spares those who hear the page. */
export function setText(el, text) { if (el.textContent !== text) el.textContent = text; }

export class FileList {
  #drawn = new Map(); // row elements by file

  /** onScroll is to draw it; why(problem) tells a file's problem; remove(file) takes it off. */
  constructor({ onScroll, why, remove }) {
    Object.assign(this, { why, remove });
    this.sizer = h("div", { class: "upload-sizer", role: "list" });
    this.el = h("div", { class: "upload-list", tabindex: "0", role: "group", "aria-label": t("upload.list"), onScroll }, this.sizer);
  }

  draw(files) {
    const { el, sizer } = this;
    sizer.style.blockSize = `${files.length * rowHeight}px`;
    const first = Math.max(0, Math.floor(el.scrollTop / rowHeight) - spareRows);
    const last = Math.min(files.length, Math.ceil((el.scrollTop + (el.clientHeight || 400)) / rowHeight) + spareRows);
    const seen = new Set(files.slice(first, last));
    for (const [file, row] of this.#drawn) {
      if (!seen.has(file)) {
        if (row.el.contains(document.activeElement)) el.focus({ preventScroll: true });
        row.el.remove();
        this.#drawn.delete(file);
      }
    }
    let i = first;
    for (const file of seen) {
      let row = this.#drawn.get(file);
      if (!row) {
        this.#drawn.set(file, row = this.#row(file));
        sizer.append(row.el);
      }
      this.#update(row, file, i, files.length);
      i++;
    }
  }

  #row(file) {
    const row = { state: "" };
    row.el = h("div", { class: "upload-row", role: "listitem" },
      row.mark = h("span", { class: "upload-mark" }),
      h("span", { class: "upload-name", title: file.name }, fileName(file.name)),
      row.size = h("span", { class: "upload-size" }, bytes(file.size)),
      row.note = h("span", { class: "upload-note" }),
      row.off = iconButton("close", t("upload.take_off", { name: file.name }), () => this.remove(file), { class: "upload-off" }),
      row.bar = h("i", { class: "upload-part" }));
    return row;
  }

  #update(row, file, i, all) {
    row.el.style.transform = `translateY(${i * rowHeight}px)`;
    row.el.setAttribute("aria-posinset", String(i + 1));
    row.el.setAttribute("aria-setsize", String(all));
    if (row.state !== file.state) {
      row.state = file.state;
      row.el.dataset.state = file.state;
      replace(row.mark, drawings[file.state] && icon(drawings[file.state], 18));
      row.off.hidden = file.state === "uploaded" || file.state === "ready"; // it is in the project
    }
    const moving = file.state === "uploading";
    let note = t(`upload.state.${file.state}`);
    if (moving && file.loaded > 0) note = `${Math.floor(100 * file.loaded / Math.max(1, file.size))} %`;
    if (file.problem) note = this.why(file.problem) || note;
    setText(row.note, note);
    row.note.title = file.problem ? note : "";
    row.bar.style.transform = `scaleX(${moving && file.size ? file.loaded / file.size : 0})`;
  }
}
