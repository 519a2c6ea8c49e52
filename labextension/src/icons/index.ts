/** The icons that JupyterLab itself draws: in the sidebar, the launcher, menus and toolbars. */
import { LabIcon } from '@jupyterlab/ui-components';

/** A mortarboard: research. `jp-icon3` takes the colour that the theme gives to icons of its sidebars. */
export const postdocIcon = new LabIcon({
  name: 'jupyterlab-postdoc:panel',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M12 3 1 8.500l11 5.500 8.500-4.250V16H22V9z"/>
    <path d="M5 12.200V17c0 1.700 3.100 3.500 7 3.500s7-1.800 7-3.500v-4.800l-7 3.500z"/>
  </g>
</svg>`
});
