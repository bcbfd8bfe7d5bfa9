// Runs the opening cell of a lesson when JupyterLab shows it, so that its explorer is live at once.
//
// A plugin as JupyterLab loads it, written by hand: it needs no module of JupyterLab's and so nothing to build it.
// Only a cell that Jupyter trusts is run: one that was delivered with the course, or run here before.

const OPENING = /^l\d+-open-explorer$/; // the id of the cell

async function start(app, panel) {
  await panel.context.ready;
  await panel.sessionContext.ready;
  const number = panel.content.widgets.findIndex((cell) => OPENING.test(cell.model.id));
  if (!panel.content.widgets[number]?.model.trusted || app.shell.currentWidget !== panel) return;
  panel.content.activeCellIndex = number;
  await app.commands.execute("notebook:run-cell");
}

const plugin = {
  id: "xai-lessons:start",
  description: "Opens a lesson with its first explorer live.",
  autoStart: true,
  activate: (app) => {
    const seen = new WeakSet();
    const look = () => {
      const panel = app.shell.currentWidget;
      if (!panel?.sessionContext || !panel.context?.path.endsWith(".ipynb") || seen.has(panel)) return;
      seen.add(panel);
      start(app, panel).catch((error) => console.warn("the lesson's first cell was not run:", error));
    };
    app.restored.then(() => {
      app.shell.currentChanged.connect(look);
      look();
    });
  },
};

globalThis._JUPYTERLAB ??= {};
globalThis._JUPYTERLAB["xai-lessons"] = {
  init: () => {},
  get: async () => () => ({ __esModule: true, default: plugin }),
};
