"use strict";
// What the schema has, told by the schema itself.
const typeText = (t) => t.kind === "NON_NULL" ? typeText(t.ofType) + "!" : t.kind === "LIST" ? "[" + typeText(t.ofType) + "]" : t.name;

const introspection = `{__schema{types{kind name description enumValues{name description}
 inputFields{name description type{...T}} fields{name description type{...T} args{name type{...T}}}}}}
fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}`;

function showDocs(types, wanted) {
	const box = document.getElementById("docs");
	box.replaceChildren();
	const order = (t) => (t.name === "Query" ? 0 : t.name === "Mutation" ? 1 : 2);
	const shown = types.filter((t) => !t.name.startsWith("__") && (t.fields || t.enumValues || t.inputFields));
	shown.sort((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
	for (const t of shown) {
		const lines = [];
		for (const f of t.fields || t.inputFields || t.enumValues) {
			const args = f.args && f.args.length ? "(" + f.args.map((a) => a.name + ": " + typeText(a.type)).join(", ") + ")" : "";
			lines.push([f.name + args + (f.type ? ": " + typeText(f.type) : ""), f.description]);
		}
		const found = lines.filter(([text]) => (t.name + " " + text).toLowerCase().includes(wanted));
		if (!found.length) continue;
		const details = document.createElement("details");
		details.open = order(t) < 2 || wanted !== "";
		const summary = document.createElement("summary");
		summary.textContent = t.name;
		const list = document.createElement("ul");
		for (const [text, description] of found) {
			const item = document.createElement("li");
			const code = document.createElement("code");
			code.textContent = text;
			item.append(code);
			if (description) {
				const p = document.createElement("p");
				p.textContent = description;
				item.append(p);
			}
			list.append(item);
		}
		details.append(summary, list);
		box.append(details);
	}
}
