/** An HTML element with attributes and children; text is never taken for markup. */
export function html(name, attributes = {}, ...children) {
    return filled(document.createElement(name), attributes, children);
}
/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
    return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}
/** An element that the page has. */
export function found(id) {
    return document.getElementById(id);
}
function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (value !== false)
            element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children);
    return element;
}
