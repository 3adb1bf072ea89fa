/** What a start that fails half-way has to give back, newest first. Troubles of giving back are dropped: the first one is what matters. */
export class Undo {
  private readonly steps: { readonly run: () => Promise<void> }[] = [];

  push(run: () => Promise<void>): { forget(): void } {
    const step = { run };
    this.steps.push(step);
    return {
      forget: () => {
        const index = this.steps.indexOf(step);
        if (index >= 0) this.steps.splice(index, 1);
      },
    };
  }

  async run(): Promise<void> {
    for (const step of this.steps.splice(0).reverse()) {
      try {
        await step.run();
      } catch {
        // see the file's header
      }
    }
  }
}
