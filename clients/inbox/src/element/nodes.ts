/**
 * Making nodes.
 *
 * Owns how an element and an icon are made. Never takes HTML: children are text or nodes. The invariant: what is given as a
 * string is a text. Read on in `item.ts`.
 */

/** An element with attributes and children. */
export function node<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

const PATHS = {
  bell: 'M6 16V10.5a6 6 0 0 1 12 0V16l1.5 2h-15zM10 21h4',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  dot: 'M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 8v4.5l3 1.5',
  box: 'M4 5h16v4H4zM5.5 9v10h13V9M10 13h4',
  unbox: 'M5 13v6h14v-6M12 15V5M8 9l4-4 4 4',
  sliders: 'M4 8h8M16 8h4M4 16h4M12 16h8M14 6v4M10 14v4',
  back: 'M11 6l-6 6 6 6M5 12h14',
  cross: 'M6 6l12 12M18 6L6 18',
};

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

/** A picture that says nothing to a screen reader: the button around it has a label. */
export function icon(name: IconName): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
