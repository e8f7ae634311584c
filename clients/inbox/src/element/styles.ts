/**
 * How the element looks.
 *
 * Owns its colours, light and dark, and its places, wide and on a phone. Never an animation. The invariant: every colour is a
 * custom property that a page can set, and every text stands at 4.5 : 1 or more on its ground. Read on in `../element.ts`.
 */

const DARK = `
  --_ground: var(--campanile-inbox-background, #1d1f23);
  --_text: var(--campanile-inbox-text, #f2f3f5);
  --_muted: var(--campanile-inbox-muted, #a9afb8);
  --_line: var(--campanile-inbox-line, #3a3e45);
  --_hover: var(--campanile-inbox-hover, #2b2e34);
  --_accent: var(--campanile-inbox-accent, #8ab4ff);
  --_danger: var(--campanile-inbox-danger, #ffb4ab);
  --_badge: var(--campanile-inbox-badge, #ff6b5e);
  --_on-badge: var(--campanile-inbox-badge-text, #1d1f23);
`;

export const STYLES = `
:host {
  --_ground: var(--campanile-inbox-background, #ffffff);
  --_text: var(--campanile-inbox-text, #1b1d21);
  --_muted: var(--campanile-inbox-muted, #5a616b);
  --_line: var(--campanile-inbox-line, #d9dce1);
  --_hover: var(--campanile-inbox-hover, #f1f3f6);
  --_accent: var(--campanile-inbox-accent, #1a56c4);
  --_danger: var(--campanile-inbox-danger, #a3190f);
  --_badge: var(--campanile-inbox-badge, #c62118);
  --_on-badge: var(--campanile-inbox-badge-text, #ffffff);
  position: relative;
  display: inline-block;
  font: var(--campanile-inbox-font, 400 0.9375rem/1.4 system-ui, sans-serif);
}
:host([hidden]) { display: none; }
@media (prefers-color-scheme: dark) { :host(:not([theme='light'])) { ${DARK} } }
:host([theme='dark']) { ${DARK} }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
button, a { font: inherit; color: inherit; }
button { background: none; border: 0; border-radius: 0.375rem; padding: 0.375rem 0.5rem; min-height: 2rem; cursor: pointer; }
button:hover { background: var(--_hover); }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 1px; }
h2:focus-visible { outline-offset: 4px; }
svg { display: block; width: 1.25rem; height: 1.25rem; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }
.bell { position: relative; width: 2.75rem; height: 2.75rem; padding: 0; display: grid; place-items: center; border-radius: 50%; color: var(--campanile-inbox-bell, inherit); }
.bell:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
.bell svg { width: 1.5rem; height: 1.5rem; }
.badge { position: absolute; inset-block-start: 0.125rem; inset-inline-start: 55%; min-width: 1.25rem; padding: 0 0.3125rem; border-radius: 0.625rem; background: var(--_badge); color: var(--_on-badge); font-size: 0.75rem; font-weight: 700; line-height: 1.25rem; text-align: center; }
dialog {
  position: absolute; inset-block-start: calc(100% + 0.5rem); inset-inline: auto 0; z-index: var(--campanile-inbox-layer, 1000);
  width: var(--campanile-inbox-width, 25rem); max-width: 100vw; max-height: min(36rem, 80vh);
  margin: 0; padding: 0; overflow: hidden; flex-direction: column;
  background: var(--_ground); color: var(--_text); border: 1px solid var(--_line); border-radius: var(--campanile-inbox-radius, 0.75rem);
  box-shadow: var(--campanile-inbox-shadow, 0 0.75rem 2.5rem rgb(0 0 0 / 25%));
}
dialog[open] { display: flex; }
:host([align='start']) dialog { inset-inline: 0 auto; }
.header { display: flex; align-items: center; gap: 0.25rem; padding: 0.75rem 0.75rem 0.5rem 1rem; }
h2 { flex: 1; margin: 0; font-size: 1.125rem; line-height: 1.3; border-radius: 0.25rem; }
.icon { padding: 0; width: 2.25rem; height: 2.25rem; display: grid; place-items: center; flex: none; color: var(--_muted); }
.icon:hover { color: var(--_text); }
.bar { display: flex; flex-wrap: wrap; gap: 0.25rem; padding: 0 0.75rem 0.5rem; border-block-end: 1px solid var(--_line); font-size: 0.875rem; }
.bar .filters { display: flex; gap: 0.25rem; flex-basis: 100%; }
.bar [aria-pressed='true'] { background: var(--_hover); color: var(--_accent); font-weight: 600; }
.bar .all { color: var(--_accent); }
.body { flex: 1; overflow-y: auto; overscroll-behavior: contain; scrollbar-color: var(--_line) transparent; }
ul { list-style: none; margin: 0; padding: 0; }
li { position: relative; padding: 0.75rem 0.75rem 0.5rem 2rem; border-block-end: 1px solid var(--_line); }
li.unread::before { content: ''; position: absolute; inset-block-start: 1.125rem; inset-inline-start: 0.875rem; border-radius: 50%; border: 0.3125rem solid var(--_accent); }
.name { font-weight: 400; overflow-wrap: anywhere; text-decoration: none; border-radius: 0.25rem; }
a.name:hover { text-decoration: underline; }
.unread .name { font-weight: 650; }
.text { margin: 0.125rem 0 0; color: var(--_muted); overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; white-space: pre-line; }
.links { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-block-start: 0.5rem; }
.links a { padding: 0.3125rem 0.75rem; border: 1px solid var(--_line); border-radius: 0.375rem; text-decoration: none; font-size: 0.875rem; }
.links a:first-child { border-color: var(--_accent); color: var(--_accent); }
.links a:hover { background: var(--_hover); }
.foot { display: flex; align-items: center; gap: 0.125rem; margin-block-start: 0.25rem; color: var(--_muted); font-size: 0.8125rem; min-height: 2.25rem; }
.foot .when { flex: 1; }
.foot [aria-expanded='true'] { background: var(--_hover); color: var(--_text); }
.choices { display: flex; flex-wrap: wrap; gap: 0.375rem; margin-block: 0.25rem; font-size: 0.875rem; }
.choices button { border: 1px solid var(--_line); }
.note { margin: 0; padding: 2rem 1rem; text-align: center; color: var(--_muted); }
.error { margin: 0; padding: 0.5rem 1rem; color: var(--_danger); border-block-end: 1px solid var(--_line); font-size: 0.875rem; }
.error button { text-decoration: underline; color: inherit; }
.more { display: block; width: 100%; min-height: 2.75rem; border-radius: 0; color: var(--_accent); }
fieldset { margin: 0; padding: 0.75rem 1rem; border: 0; border-block-end: 1px solid var(--_line); }
legend { float: inline-start; width: 100%; padding: 0; margin-block-end: 0.25rem; font-weight: 650; }
label { display: flex; align-items: center; gap: 0.5rem; min-height: 2rem; clear: both; }
input { width: 1.125rem; height: 1.125rem; margin: 0; accent-color: var(--_accent); }
label small { color: var(--_muted); font-size: 0.8125rem; }
@media (max-width: 30rem) {
  dialog { position: fixed; inset: 0; width: 100%; max-width: none; height: 100%; max-height: none; border: 0; border-radius: 0; box-shadow: none; }
  button, .links a, label { min-height: 2.75rem; }
  .icon { width: 2.75rem; height: 2.75rem; }
  .links a { display: flex; align-items: center; }
}
@media (forced-colors: active) {
  .badge { border: 1px solid ButtonText; }
  .bar [aria-pressed='true'] { outline: 2px solid Highlight; }
}
`;
