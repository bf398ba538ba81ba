// Words in the page's language, which the server wrote into <html lang>.
//
// Dictionaries are flat: a key with a prefix for each view, and a text with
// {places}. A text that depends on a number n is an object by plural categories
// (CLDR's names, as Intl.PluralRules gives them): {one: "{n} image", other: "{n} images"}.

const parts = ["common", "problem", "gallery", "tags", "upload", "home", "task", "buckets", "keys", "audit"];

export const lang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

const words = Object.assign({}, ...await Promise.all(parts.map((part) => import(`./lang/${lang}/${part}.js`).then((m) => m.default))));

const plural = new Intl.PluralRules(lang);
const number = new Intl.NumberFormat(lang);

/** The text of a key; the key itself where there is none. */
export function t(key, params = {}) {
  let text = words[key];
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(params.n ?? 0)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (place, name) => {
    const v = params[name];
    return v === undefined ? place : typeof v === "number" ? number.format(v) : String(v);
  });
}

/** Whether there is a text for a key. */
export const has = (key) => key in words;
