/** The form for a new research, and forms made of a JSON Schema. */
export { NewResearch } from './NewResearch';
export { SchemaForm } from './SchemaForm';
