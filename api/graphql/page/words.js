"use strict";
// The page's words, by the browser's language.
const words = {
	en: {
		query: "Query", variables: "Variables (JSON)", answer: "Answer", run: "Run", token: "key, such as ub_…", docs: "What there is",
		tokenHint: "Your key. It stays in this tab.", find: "find a field or a type", waiting: "asking…", unreachable: "the server does not answer",
		badVariables: "the variables are not JSON: ", took: "{status} · {ms} ms · {size}", history: "History", curl: "Copy as curl",
		curlHint: "Copies a command for the shell; it reads your key from $KEY", copied: "copied", notCopied: "the browser does not let this page copy",
		nothing: "Nothing is called so.", hint: "The answer comes here.",
	},
	zh: {
		query: "查询", variables: "变量（JSON）", answer: "回答", run: "运行", token: "密钥，如 ub_…", docs: "可用内容",
		tokenHint: "您的密钥，只保存在此标签页中。", find: "查找字段或类型", waiting: "请求中…", unreachable: "服务器没有应答",
		badVariables: "变量不是 JSON：", took: "{status} · {ms} 毫秒 · {size}", history: "历史", curl: "复制为 curl",
		curlHint: "复制一条命令；密钥取自 $KEY", copied: "已复制", notCopied: "浏览器不允许此页面复制",
		nothing: "没有这个名称。", hint: "回答显示在这里。",
	},
};
const language = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";

// word returns the words of a name, with {places} filled in.
const word = (name, places = {}) => words[language][name].replace(/\{(\w+)\}/g, (_, place) => places[place]);

document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
for (const e of document.querySelectorAll("[data-word]")) e.textContent = word(e.dataset.word);
for (const e of document.querySelectorAll("[data-placeholder]")) e.placeholder = word(e.dataset.placeholder);
for (const e of document.querySelectorAll("[data-title]")) e.title = word(e.dataset.title);
for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", word(e.dataset.label));
