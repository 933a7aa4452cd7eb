// softmax._core: the module and its functions.
#include "blas.h"
#include "calls.h"
#include "plain.h"
#include "products.h"

namespace softmax {
namespace {

using namespace nb::literals;

nb::dict build_info() {
  nb::dict info;
  nb::list targets;
  for (const Kernels* kernels : available_kernels()) targets.append(kernels->name);
  info["native"] = true;
  info["target"] = chosen_kernels().name;
  info["targets"] = targets;
#ifdef _OPENMP
  info["openmp"] = true;
#else
  info["openmp"] = false;
#endif
#ifdef __clang__
  info["compiler"] = "Clang " __clang_version__;
#else
  info["compiler"] = "GCC " __VERSION__;
#endif
  return info;
}

}  // namespace

NB_MODULE(_core, m) {
  if (PyArray_ImportNumPyAPI() < 0) throw nb::python_error();
  chosen_kernels();
  using H = nb::handle;
  m.def(
      "softmax",
      [](H x, H out, int axis, H where, H temperature, H sink) {
        along_axis(Op::softmax, x, out, axis,
                   {.where = where, .temperature = temperature, .sink = sink});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none(), "sink"_a.none());
  m.def(
      "log_softmax",
      [](H x, H out, int axis, H where, H temperature, H sink) {
        along_axis(Op::log_softmax, x, out, axis,
                   {.where = where, .temperature = temperature, .sink = sink});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none(), "sink"_a.none());
  m.def(
      "logsumexp",
      [](H x, H out, int axis, H where, H weights, H sign) {
        const Op op = weights.is_none() ? Op::logsumexp : Op::weighted_logsumexp;
        if (weights.is_none() && !sign.is_none()) refuse("weights", "given where sign is");
        along_axis(op, x, out, axis, {.where = where, .second = weights, .sign = sign});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "weights"_a.none(), "sign"_a.none());
  m.def(
      "cumulative_logsumexp",
      [](H x, H out, int axis, bool reverse) {
        along_axis(Op::cumulative_logsumexp, x, out, axis, {.reverse = reverse});
      },
      "x"_a, "out"_a, "axis"_a, "reverse"_a);
  m.def(
      "smooth_max",
      [](H x, H out, int axis, H where, double k) {
        along_axis(Op::smooth_max, x, out, axis, {.where = where, .factor = k});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "k"_a);
  m.def(
      "mellowmax",
      [](H x, H out, int axis, H where, double omega) {
        along_axis(Op::mellowmax, x, out, axis, {.where = where, .factor = omega});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "omega"_a);
  m.def(
      "entropy",
      [](H x, H out, int axis, H where, H temperature) {
        along_axis(Op::entropy, x, out, axis, {.where = where, .temperature = temperature});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "softmax_jvp",
      [](H x, H dx, H out, int axis, H where, H temperature) {
        along_axis(Op::derivative, x, out, axis,
                   {.where = where, .temperature = temperature, .second = dx});
      },
      "x"_a, "dx"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "softmax_vjp",
      [](H x, H dp, H out, int axis, H where, H temperature) {
        along_axis(Op::derivative, x, out, axis,
                   {.where = where, .temperature = temperature, .second = dp});
      },
      "x"_a, "dp"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "filter_logits",
      [](H logits, H out, H valid, H temperature, int64_t top_k, double top_p, double log_min_p,
         bool first_ties) {
        SamplingJob job;
        job.top_k = top_k, job.top_p = top_p, job.log_min_p = log_min_p;
        job.first_ties = first_ties;
        job.kept = Given(out, "out").array.data;
        sampling(job, logits, valid, temperature);
      },
      "logits"_a, "out"_a, "valid"_a, "temperature"_a.none(), "top_k"_a, "top_p"_a, "log_min_p"_a,
      "first_ties"_a);
  m.def(
      "sample",
      [](H logits, H uniforms, H out, H valid, H temperature, int64_t top_k, double top_p,
         double log_min_p) {
        SamplingJob job;
        job.top_k = top_k, job.top_p = top_p, job.log_min_p = log_min_p;
        const Given u(uniforms, "uniforms"), drawn(out, "out");
        job.draws = u.array.shape[0];
        job.uniforms = (const double*)u.array.data;
        job.drawn = (int64_t*)drawn.array.data;
        sampling(job, logits, valid, temperature);
      },
      "logits"_a, "uniforms"_a, "out"_a, "valid"_a, "temperature"_a.none(), "top_k"_a, "top_p"_a,
      "log_min_p"_a);
  m.def("sigmoid", [](H x, H out) { elementwise(Op::sigmoid, x, out); }, "x"_a, "out"_a);
  m.def("log_sigmoid", [](H x, H out) { elementwise(Op::log_sigmoid, x, out); }, "x"_a, "out"_a);
  m.def("softplus", [](H x, H out) { elementwise(Op::softplus, x, out); }, "x"_a, "out"_a);
  m.def("logit", [](H x, H out) { elementwise(Op::logit, x, out); }, "x"_a, "out"_a);
  m.def(
      "cross_entropy",
      [](H logits, H target, H weights, H loss, H gradient, int axis, double scale, double z_loss,
         double smoothing) {
        run(planned_losses(logits, target, nb::none(), weights, loss, gradient, axis, scale, z_loss,
                           {}, smoothing));
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none(), "axis"_a = -1,
      "scale"_a = 1.0, "z_loss"_a = 0.0, "smoothing"_a = 0.0);
  m.def(
      "cross_entropy_soft",
      [](H logits, H target, H weights, H loss, H gradient, int axis, double scale, double z_loss) {
        run(planned_losses(logits, nb::none(), target, weights, loss, gradient, axis, scale,
                           z_loss));
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none(), "axis"_a = -1,
      "scale"_a = 1.0, "z_loss"_a = 0.0);
  m.def("target_sums", &target_sums, "rows"_a, "out"_a);
  m.def("focal_loss", &focal, "logits"_a, "target"_a, "weights"_a.none(), "loss"_a,
        "gradient"_a.none(), "scale"_a, "gamma"_a);
  m.def("kl_divergence", &divergence, "p_logits"_a, "q_logits"_a, "temperature"_a.none(), "loss"_a,
        "gradient"_a.none());
  m.def(
      "cross_entropy_counts",
      [](H logits, H starts, H places, H counts, H weights, H loss, H gradient, double scale,
         double z_loss) {
        run(planned_losses(logits, nb::none(), counts, weights, loss, gradient, -1, scale, z_loss,
                           {starts, places}));
      },
      "logits"_a, "starts"_a, "places"_a, "counts"_a, "weights"_a.none(), "loss"_a,
      "gradient"_a.none(), "scale"_a = 1.0, "z_loss"_a = 0.0);
  m.def(
      "csr_product",
      [](H indptr, H indices, H data, H dense, H out, bool transposed) {
        sparse_product(indptr, indices, data, dense, out, transposed);
      },
      "indptr"_a, "indices"_a, "data"_a, "dense"_a, "out"_a, "transposed"_a);
  m.def("matrix_product", &matrix_product, "gemm"_a, "a"_a, "b"_a, "out"_a, "add"_a);
  m.def("factor_blocks", &factor_blocks, "potrf"_a, "matrices"_a, "scales"_a);
  m.def("solve_blocks", &solve_blocks, "trsv"_a, "matrices"_a, "scales"_a, "right"_a, "out"_a);
  m.def("weighted_grams", &weighted_grams, "x"_a, "weights"_a, "out"_a);
  m.def("layer_probabilities", &layer_probabilities, "slopes"_a, "labels"_a.none(),
        "targets"_a.none(), "weights"_a.none(), "scale"_a, "out"_a);
  m.def("loss_gradient", &loss_gradient, "parameters"_a, "gradient"_a, "l2"_a, "out"_a);
  m.def("quadratic_gap", &quadratic_gap, "gradient"_a, "l2"_a, "curvature"_a.none());
  m.def("complete_curvature", &complete_curvature, "matrix"_a, "own"_a, "l2"_a, "penalised"_a);
  m.def("layer_derivative", &layer_derivative, "products"_a, "sums"_a, "mean"_a, "total"_a, "l2"_a,
        "parameters"_a, "out"_a);
  m.def("softmax_curvature", &softmax_curvature, "x"_a, "p"_a, "weights"_a.none(), "scale"_a,
        "out"_a);
  m.def("layer_loss", &layer_loss, "x"_a, "parameters"_a, "labels"_a.none(), "targets"_a.none(),
        "weights"_a.none(), "scale"_a, "l2"_a, "penalised"_a, "loss"_a, "slopes"_a, "gradient"_a);
  m.def(
      "plain_softmax",
      [](H x, H axis, H temperature, H out) {
        return plain_map(Op::softmax, x, axis, temperature, out);
      },
      "x"_a.none(), "axis"_a.none(), "temperature"_a.none(), "out"_a.none());
  m.def(
      "plain_log_softmax",
      [](H x, H axis, H temperature, H out) {
        return plain_map(Op::log_softmax, x, axis, temperature, out);
      },
      "x"_a.none(), "axis"_a.none(), "temperature"_a.none(), "out"_a.none());
  m.def("plain_derivative", &plain_derivative, "x"_a.none(), "direction"_a.none(), "axis"_a.none(),
        "temperature"_a.none());
  m.def(
      "plain_logsumexp", [](H x, H axis) { return plain_reduction(Op::logsumexp, x, axis); },
      "x"_a.none(), "axis"_a.none());
  m.def(
      "plain_sigmoid", [](H x, H out) { return plain_elements(Op::sigmoid, x, out); }, "x"_a.none(),
      "out"_a.none());
  m.def(
      "plain_log_sigmoid", [](H x, H out) { return plain_elements(Op::log_sigmoid, x, out); },
      "x"_a.none(), "out"_a.none());
  m.def(
      "plain_softplus", [](H x, H out) { return plain_elements(Op::softplus, x, out); },
      "x"_a.none(), "out"_a.none());
  m.def(
      "plain_logit", [](H x, H out) { return plain_elements(Op::logit, x, out); }, "x"_a.none(),
      "out"_a.none());
  m.def("empty", &new_result, "shape"_a, "dtype"_a);
  m.def("plain_cross_entropy", &plain_cross_entropy, "logits"_a.none(), "target"_a.none(),
        "axis"_a.none(), "label_smoothing"_a.none(), "z_loss"_a.none(), "reduction"_a.none(),
        "return_grad"_a.none(), "out"_a.none());
  m.def("set_num_threads", &set_num_threads, "n"_a);
  m.def("get_num_threads", &get_num_threads);
  m.def("build_info", &build_info);
}

}  // namespace softmax
