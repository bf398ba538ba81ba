"use strict";
// The page's words, by the browser's language.
const words = {
	en: {
		query: "Query", variables: "Variables (JSON)", answer: "Answer", run: "Run", token: "altitoken", docs: "What there is", find: "Find",
		waiting: "asking…", unreachable: "The server does not answer.", badVariables: "The variables are not JSON: ", seconds: "ms",
	},
	zh: {
		query: "查询", variables: "变量（JSON）", answer: "回答", run: "运行", token: "altitoken", docs: "可用内容", find: "查找",
		waiting: "请求中…", unreachable: "服务器没有应答。", badVariables: "变量不是 JSON：", seconds: "毫秒",
	},
};
const language = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
const word = (name) => words[language][name];
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
for (const e of document.querySelectorAll("[data-word]")) e.textContent = word(e.dataset.word);
for (const e of document.querySelectorAll("[data-placeholder]")) e.placeholder = word(e.dataset.placeholder);
