export { HandBanner } from './HandBanner';
export { NotebookView } from './NotebookView';
