// Emscripten's glue, made by bindings/CMakeLists.txt; build.mjs resolves the name.
declare module 'beex-engine-glue' {
  export interface ModuleOptions {
    instantiateWasm(
      imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
    ): object;
  }
  export default function createModule(options: ModuleOptions): Promise<import('./engine.js').EngineModule>;
}
