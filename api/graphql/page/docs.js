"use strict";
// What the schema has, told by the schema itself.
const introspection = `{__schema{types{kind name description enumValues{name description}
 inputFields{name description type{...T}} fields{name description type{...T} args{name type{...T}}}}}}
fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}`;

// make builds an element of a class with children.
function make(tag, className, ...children) {
	const e = document.createElement(tag);
	if (className) e.className = className;
	e.append(...children);
	return e;
}

const bare = (type) => (type.ofType ? bare(type.ofType) : type.name);
const written = (type) => (type.kind === "NON_NULL" ? written(type.ofType) + "!" : type.kind === "LIST" ? "[" + written(type.ofType) + "]" : type.name);

// typeLink writes a type; a click opens what it is made of.
function typeLink(type, known) {
	const name = bare(type);
	if (!known.has(name)) return make("span", "type", written(type));
	const link = make("button", "type link", written(type));
	link.type = "button";
	link.addEventListener("click", () => {
		const find = document.getElementById("find");
		if (find.value) {
			find.value = "";
			find.dispatchEvent(new Event("input"));
		}
		const target = document.getElementById("type-" + name);
		target.open = true;
		target.scrollIntoView({ block: "start", behavior: "smooth" });
		target.querySelector("summary").focus({ preventScroll: true });
	});
	return link;
}

// line shows one field, argument of an input, or member of an enum.
function line(field, known) {
	const code = make("code", "", make("b", "", field.name));
	if (field.args && field.args.length) {
		code.append("(");
		field.args.forEach((a, i) => code.append(i ? ", " : "", a.name, ": ", typeLink(a.type, known)));
		code.append(")");
	}
	if (field.type) code.append(": ", typeLink(field.type, known));
	const item = make("li", "", code);
	if (field.description) item.append(make("p", "", field.description));
	return item;
}

// showDocs lists the types that have what is wanted, in lower case; "" for all.
function showDocs(types, wanted) {
	const order = (t) => (t.name === "Query" ? 0 : t.name === "Mutation" ? 1 : 2);
	const members = (t) => t.fields || t.inputFields || t.enumValues;
	const shown = types.filter((t) => !t.name.startsWith("__") && members(t));
	shown.sort((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
	const known = new Set(shown.map((t) => t.name));
	const out = [];
	for (const t of shown) {
		const whole = t.name.toLowerCase().includes(wanted);
		const found = members(t).filter((f) => whole || f.name.toLowerCase().includes(wanted));
		if (!found.length) continue;
		const details = make("details", "", make("summary", "", t.name));
		details.id = "type-" + t.name;
		details.open = wanted !== "" || order(t) < 2;
		if (t.description) details.append(make("p", "about", t.description));
		details.append(make("ul", "", ...found.map((f) => line(f, known))));
		out.push(details);
	}
	document.getElementById("docs").replaceChildren(...(out.length ? out : [make("p", "about", word("nothing"))]));
}
