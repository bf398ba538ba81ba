// Files out of what a page is given: an input's list, a drop, folders in it.

// Names that no one means to upload.
const junk = new Set(["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"]);
const isJunk = (name) => name.startsWith(".") || junk.has(name.toLowerCase());

const imageExtensions = new Set(("jpg jpeg jpe jfif png tif tiff webp heic heif hif avif jxl jp2 bmp gif dng cr2 cr3 crw nef nrw arw srf " +
  "sr2 raf rw2 raw rwl orf pef srw 3fr fff iiq mef mos x3f erf kdc dcr mrw gpr").split(" "));

/** Whether a name ends like an image of a camera or a program. */
export const isImageName = (name) => imageExtensions.has(name.slice(name.lastIndexOf(".") + 1).toLowerCase());

/** Whether a file can be read: a browser tells one that can't by the same event as a line that is cut. */
export const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

/**
 * What a drop brought, to be given to Uploader.add. To be called in the event's own
 * handler: afterwards the browser has forgotten it.
 *
 * @param {DataTransfer} transfer
 */
export function dropped(transfer) {
  const entries = Array.from(transfer.items ?? [], (item) => item.kind === "file" && item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? entries : Array.from(transfer.files);
}

/**
 * Finds the files in what a page was given, a hundred or so at a time.
 *
 * @param {Iterable<File|FileSystemEntry|{file: File, name: string}>} things
 * @param {(name: string) => void} [leaves] is told of each file or folder that lies in a
 *   folder, and that nobody means to upload by its name. With it, what was chosen by
 *   itself comes whatever its name is; without it such names never come.
 * @yields {{file: File|null, name: string, folder?: true}[]} names have folders with /
 *   between, without the one folder that was chosen; file is null where it can't be read,
 *   and folder is true where that is a folder
 */
export async function* filesOf(things, leaves) {
  const list = Array.from(things);
  if (list.length === 1 && list[0].isDirectory) {
    yield* walk(list[0], "", leaves);
    return;
  }
  const plain = [];
  const top = (f) => f.webkitRelativePath?.split("/")[0];
  const chosen = list.length && top(list[0]) && list.every((f) => top(f) === top(list[0]));
  for (const thing of list) {
    if (thing.isDirectory) {
      if (leaves || !isJunk(thing.name)) yield* walk(thing, thing.name + "/", leaves);
    } else if (thing.isFile) {
      plain.push({ file: await fileOf(thing), name: thing.name });
    } else if (!(thing instanceof File)) {
      plain.push(thing);
    } else {
      const inFolder = thing.webkitRelativePath;
      const path = inFolder || thing.name;
      const name = chosen ? path.slice(path.indexOf("/") + 1) : path;
      if ((leaves && !inFolder) || !name.split("/").some(isJunk)) plain.push({ file: thing, name });
      else leaves?.(name);
    }
  }
  if (plain.length) yield plain;
}

const fileOf = (entry) => new Promise((resolve) => entry.file(resolve, () => resolve(null)));

async function* walk(folder, prefix, leaves) {
  const reader = folder.createReader();
  const entries = [];
  try {
    for (;;) { // a browser tells a hundred at a time, in no order
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const e of some) {
        if (isJunk(e.name)) leaves?.(prefix + e.name);
        else entries.push(e);
      }
    }
  } catch { // the others are none the worse for it
    yield [{ file: null, name: prefix.slice(0, -1) || folder.name, folder: true }];
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const files = entries.filter((e) => e.isFile);
  for (let i = 0; i < files.length; i += 100) {
    yield await Promise.all(files.slice(i, i + 100).map(async (e) => ({ file: await fileOf(e), name: prefix + e.name })));
  }
  for (const e of entries) if (e.isDirectory) yield* walk(e, prefix + e.name + "/", leaves);
}
