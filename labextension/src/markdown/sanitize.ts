/**
 * What agents, tools and files write becomes HTML only through here.
 *
 * No script, style, form, frame or media; no ids or names (they could stand in for the page's own), no classes but those
 * of highlighted code and formulas (an agent must not draw a dialog or an approval card of ours); no command links.
 * An image from another address keeps that address in `data-postdoc-src` and asks for nothing until it is clicked. A
 * link goes to http, https or mailto in a new tab, or it is a path of the project in `data-postdoc-path`.
 */
import createPurifier from 'dompurify';
import type { DOMPurify } from 'dompurify';

import { EXTERNAL, safeUrl } from '../links';
import type { Activation } from '../platform';

const FORBIDDEN_TAGS = [
  'style',
  'form',
  'button',
  'select',
  'textarea',
  'option',
  'iframe',
  'object',
  'embed',
  'video',
  'audio',
  'source',
  'track',
  'picture',
  'link',
  'meta',
  'base',
  'svg',
  'dialog',
  'template',
  'slot',
  'marquee',
  'map',
  'area'
];
const FORBIDDEN_ATTRIBUTES = [
  'id',
  'name',
  'style',
  'srcset',
  'background',
  'ping',
  'tabindex',
  'accesskey',
  'is',
  'for',
  'form',
  'usemap',
  'role',
  'inert',
  'autofocus',
  'contenteditable',
  'popover',
  'popovertarget',
  'popovertargetaction',
  'slot',
  'part',
  'cite',
  'xlink:href'
];
/** What the highlighters of code and the formulas are styled by; not what CodeMirror styles its own panels by. */
const CLASS =
  /^(?:language-[\w+#.-]+|hljs[\w-]*|cm-s-jupyter|tok-[\w-]+|\u037c\w+|jp-Postdoc-Formula|jp-mod-display)$/;
const INLINE_IMAGE = /^data:image\/(?:png|jpeg|gif|webp|svg\+xml)[;,]/i;

let purifier: DOMPurify | null = null;

function purify(): DOMPurify {
  if (purifier === null) {
    purifier = createPurifier(window);
    purifier.addHook('afterSanitizeAttributes', node => {
      classes(node);
      // In MathML anything can be a link; here only a link is one.
      if (node.nodeName !== 'A') {
        node.removeAttribute('href');
      }
      if (node.nodeName !== 'IMG') {
        node.removeAttribute('src');
      }
      if (node.nodeName === 'IMG') {
        image(node);
      } else if (node.nodeName === 'A') {
        link(node);
      } else if (node.nodeName === 'INPUT') {
        if (node.getAttribute('type') === 'checkbox') {
          node.setAttribute('disabled', '');
        } else {
          node.remove();
        }
      }
    });
  }
  return purifier;
}

/** Harmless HTML with the same text. Runs in a document that loads nothing. */
export function sanitize(html: string): string {
  return purify().sanitize(html, {
    USE_PROFILES: { html: true, mathMl: true },
    FORBID_TAGS: FORBIDDEN_TAGS,
    FORBID_ATTR: FORBIDDEN_ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false
  });
}

function classes(node: Element): void {
  const given = node.getAttribute('class');
  if (given === null) {
    return;
  }
  const kept = given.split(/\s+/).filter(name => CLASS.test(name));
  if (kept.length > 0) {
    node.setAttribute('class', kept.join(' '));
  } else {
    node.removeAttribute('class');
  }
}

function image(node: Element): void {
  const source = node.getAttribute('src') ?? '';
  node.setAttribute('loading', 'lazy');
  if (!INLINE_IMAGE.test(source)) {
    node.removeAttribute('src');
    node.setAttribute('data-postdoc-src', source);
  }
}

function link(node: Element): void {
  const target = node.getAttribute('href') ?? '';
  node.removeAttribute('href');
  const url = safeUrl(target);
  if (url !== null) {
    node.setAttribute('href', url);
    node.setAttribute('target', EXTERNAL.target);
    node.setAttribute('rel', EXTERNAL.rel);
  } else if (/^(?!\/|\\|[a-z][a-z0-9+.-]*:|#)[^\s]/i.test(target)) {
    node.setAttribute('data-postdoc-path', target);
  }
}

/** Give shown HTML its buttons: images that are loaded on demand, files that open. */
export function activate(host: HTMLElement, { loadImage, openPath }: Activation): void {
  host.querySelectorAll<HTMLImageElement>('img[data-postdoc-src]').forEach(img => {
    const source = img.dataset.postdocSrc ?? '';
    img.replaceWith(imageButton(img, source, loadImage));
  });
  host.querySelectorAll<HTMLAnchorElement>('a[data-postdoc-path]').forEach(anchor => {
    const path = plainPath(anchor.dataset.postdocPath ?? '');
    if (openPath === undefined) {
      anchor.replaceWith(...Array.from(anchor.childNodes));
      return;
    }
    anchor.setAttribute('role', 'link');
    anchor.tabIndex = 0;
    const open = (event: Event) => {
      event.preventDefault();
      openPath(path);
    };
    anchor.addEventListener('click', open);
    anchor.addEventListener('keydown', event => {
      if (event.key === 'Enter') {
        open(event);
      }
    });
  });
}

/** The path that an address like "a%20b.md#part" means. */
function plainPath(address: string): string {
  const path = address.replace(/[?#].*$/, '');
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function imageButton(img: HTMLImageElement, source: string, label: Activation['loadImage']): HTMLElement {
  const url = safeUrl(source.startsWith('//') ? `https:${source}` : source);
  if (url === null || url.startsWith('mailto:')) {
    const text = document.createElement('span');
    text.textContent = img.alt || source.slice(0, 80);
    return text;
  }
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'jp-Postdoc-Button jp-mod-plain jp-Postdoc-LoadImage';
  button.textContent = `${label(new URL(url).host)}${img.alt ? ` (${img.alt})` : ''}`;
  button.addEventListener('click', () => {
    const shown = document.createElement('img');
    shown.alt = img.alt;
    shown.referrerPolicy = 'no-referrer';
    shown.src = url;
    button.replaceWith(shown);
  });
  return button;
}
